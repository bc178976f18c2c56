"""Assignments of configs to nodes: assigned, settled once its agent confirms, removed through an operation."""

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain import addressing, drift_words, public_ports
from wgfleet.panel.domain.first_look import FirstLook
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict, Exhausted, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.keypairs import new_key_pair
from wgfleet.panel.services import audit, configs, generations, operations
from wgfleet.panel.services.dns import name_clashes, published_names
from wgfleet.panel.services.fleet import forwardings, peer_networks, placement, shared_addresses, witness_keys
from wgfleet.panel.services.floating import carriers, holders
from wgfleet.panel.store import Tx, given_up, homes, owed_recalls, sealed
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.assignments import AppliedPeers
from wgfleet.panel.store.tables import Assignment, Cleanup, Config, EndpointGroup, Node, Pool
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import parse_port
from wgfleet.protocol.diff import ROUTING_FIELD, Drift, harms_no_user
from wgfleet.protocol.messages import Forwarding
from wgfleet.protocol.reasons import Reason, template

SLICE_BITS = 4  # an independent config's pool is cut for up to 16 nodes
MIN_HOST_BITS = 2  # the least slice has a node and a peer


@dataclass(frozen=True, slots=True)
class NodeAssignment:
    """An assignment with its node and how many peers of the config have their home there.

    `unpublished`: why the config's name does not list it by what was set; None: it may.
    """

    assignment: Assignment
    node: Node
    homes: int
    unpublished: str | None = None


def get(tx: Tx, config: Config, node: Node) -> Assignment:
    """Return the assignment of a config to a node."""
    assignment = assignment_rows.get(tx, config.id, node.id)
    if assignment is None:
        raise NotFound(
            Reason("config {config!r} is not assigned to node {node!r}", config=config.name, node=node.name),
            Hint(HintCode.LIST_CONFIG_NODES, config=config.name),
        )
    return assignment


def listing(tx: Tx, config_id: str) -> list[NodeAssignment]:
    """Return a config's assignments, oldest first."""
    homed = homes.in_config(tx, config_id)
    group = _group_of_cluster(tx, config_id)
    return [
        NodeAssignment(assignment, node, homed.get(node.id, 0), _unpublished(group, assignment))
        for assignment, node in assignment_rows.of_config(tx, config_id)
    ]


def on_nodes(tx: Tx, config_ids: Sequence[str], found: Sequence[Node]) -> dict[str, list[tuple[Assignment, Node]]]:
    """Return the assignments of some configs, by config, with their nodes. `found`: those that were read already."""
    nodes, listed = {node.id: node for node in found}, assignment_rows.of_configs(tx, config_ids)
    if any(each.node_id not in nodes for each in listed):
        nodes |= {node.id: node for _, node in assignment_rows.with_nodes(tx, config_ids)}
    of_each: dict[str, list[tuple[Assignment, Node]]] = {config_id: [] for config_id in config_ids}
    for each in listed:
        of_each[each.config_id].append((each, nodes[each.node_id]))
    return of_each


def unpublished(tx: Tx, config: Config, assignment: Assignment) -> str | None:
    """Say why the config's name does not list a node by what was set; None: it may."""
    return _unpublished(_group_of_cluster(tx, config.id), assignment)


def _group_of_cluster(tx: Tx, config_id: str) -> EndpointGroup | None:
    """Return the group whose name lists all nodes; None: there is none, or each node has a name of its own."""
    return None if published_names.is_of_nodes(tx, config_id) else endpoint_group_rows.get(tx, config_id)


def _unpublished(group: EndpointGroup | None, assignment: Assignment) -> str | None:
    return None if group is None else public_ports.trouble(group.port, assignment.public_port) or None


def homes_at(tx: Tx, config: Config, node: Node) -> int:
    """Return how many peers of a config have their home on a node."""
    return homes.in_config(tx, config.id).get(node.id, 0)


def standings(tx: Tx, config_ids: Collection[str]) -> dict[str, dict[str, int]]:
    """Count the nodes of some configs by how they serve: by health where they do, by phase where they do not."""
    found: dict[str, dict[str, int]] = {config_id: {} for config_id in config_ids}
    for config_id, phase, state, count in assignment_rows.standings(tx, config_ids):
        shown = str(state if phase == Phase.SERVING else phase)
        found[config_id][shown] = found[config_id].get(shown, 0) + count
    return found


def entrusted(tx: Tx, config: Config, node: Node) -> bool:
    """Tell whether a node was ever given the keys of a config."""
    return assignment_rows.entrusted(tx, config.id, node.id)


def entrusted_nodes(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes that were ever given the keys of a config."""
    return assignment_rows.entrusted_nodes(tx, config_id)


def homeless(tx: Tx, config_id: str, listed: Sequence[NodeAssignment]) -> int:
    """Count the peers of a config that have no home. `listed`: its assignments."""
    return homes.of_configs(tx, [config_id]).get(config_id, 0) - sum(each.homes for each in listed)


def of_node(tx: Tx, node_id: str, within: Limit | None = None) -> list[tuple[Assignment, Config]]:
    """Return a node's assignments with their configs, by the configs' names."""
    found = assignment_rows.of_node(tx, node_id)
    seen = [pair for pair in found if within is None or pair[1].id in within.configs]
    return sorted(seen, key=lambda pair: pair[1].name)


def _check_places(tx: Tx, config: Config, node: Node, public_port: int | None, backbone_port: int | None) -> None:
    """Refuse a node that cannot have a config, or not with these ports of a router in front of it."""
    if public_port is not None:
        parse_port(public_port, "public_port")
    if backbone_port is not None:
        parse_port(backbone_port, "public_backbone_port")
    if node.witness:
        raise Conflict(
            Reason(
                "node {node!r} is a witness: it has no WireGuard, and looks at the nodes of all configs as it is; "
                "assign another node",
                node=node.name,
            ),
            Hint(HintCode.LIST_NODES),
            field="node_id",
        )
    peer_networks.check_beside(tx, config, node)
    shared_addresses.check_assignment(
        tx, config, node, "node_id" if public_port is None else "public_port", public_port
    )
    shared_addresses.check_backbone_port(tx, config, node, public_port, backbone_port)


def assign(
    tx: Tx,
    vault: Vault,
    actor: str,
    config: Config,
    node: Node,
    public_port: int | None = None,
    public_backbone_port: int | None = None,
) -> Assignment:
    """Put a config on a node. It joins, and serves once its agent has confirmed everything."""
    _check_places(tx, config, node, public_port, public_backbone_port)  # first: what it locks comes before configs
    generation = generations.probes_changed(tx, config.id)
    earlier = assignment_rows.get(tx, config.id, node.id)
    if earlier is not None:
        raise _assigned_already(config, node, earlier.phase)
    name_clashes.check_assigned(tx, config, node)
    # What the node owes of an earlier time is overtaken: it is to carry the config again.
    owed = assignment_rows.cleanup(tx, node.id, config.id)
    behind = (clock.now(), generation) if owed is None else (owed.created_at, owed.generation)
    assignment_rows.delete_cleanup(tx, node.id, config.id)
    assignment_id = clock.new_id()
    probe_key, probe_public_key = new_key_pair()
    assignment = Assignment(
        id=assignment_id,
        config_id=config.id,
        node_id=node.id,
        number=assignment_rows.free_number(tx),
        phase=Phase.JOINING,
        private_key_sealed=None,
        public_key=None,
        applied_generation=0,
        applied_at=None,
        summary=Reason("waits for the node's agent"),
        drift=[],
        floating_held=[],
        floating_rivals={},
        health="serving",
        health_since=clock.now(),
        health_reason=Reason("joined"),
        flaps=[],
        public_port=public_port,
        next_public_port=None,
        public_backbone_port=public_backbone_port,
        probe_private_key_sealed=sealed.seal(vault, Assignment.probe_private_key_sealed, assignment_id, probe_key),
        probe_public_key=probe_public_key,
        # What the node may have of an earlier assignment is of another history, with other keys: it gets the whole.
        oldest_base=generation,
        behind_since=behind[0],
        behind_generation=behind[1],
        created_at=clock.now(),
    )
    if config.mode == configs.INDEPENDENT:
        private_key, assignment.public_key = new_key_pair()
        assignment.private_key_sealed = sealed.seal(vault, Assignment.private_key_sealed, assignment.id, private_key)
    assignment_rows.add(tx, assignment)
    assignment_rows.entrust(tx, config.id, node.id)
    if config.mode == configs.INDEPENDENT:
        _cut_slices(tx, config, assignment, assignment_rows.pools(tx, config.id))
    witness_keys.for_config(tx, vault, config.id)
    audit.record(
        tx, actor, "assigned", "config_node", operations.subject(config.id, node.id), config=config.name, node=node.name
    )
    tx.wake(Topic.NODE, node.id)
    return assignment


def _assigned_already(config: Config, node: Node, phase: Phase) -> Conflict:
    leaves = phase in {Phase.DRAINING, Phase.REMOVED}
    way = Reason("it is being removed; wait for that operation") if leaves else Reason("nothing to do")
    text = template("config {config!r} is already assigned to node {node!r}: {way}")
    return Conflict(Reason(text, config=config.name, node=node.name, way=way), field="node_id")


def cut_everywhere(tx: Tx, config: Config, pool: Pool) -> None:
    """Take a slice of a new pool for each node of an independent config."""
    for assignment, _ in assignment_rows.of_config(tx, config.id):
        _cut_slices(tx, config, assignment, [pool])


def _cut_slices(tx: Tx, config: Config, assignment: Assignment, pools: Sequence[Pool]) -> None:
    """Take the first free slice of each pool for the node, and give each peer an address in it."""
    taken = {pool.network for pool in assignment_rows.slices(tx, config.id)}
    peers = [peer.id for peer in peer_rows.of_config(tx, config.id)]
    cut: list[Pool] = []
    for pool in pools:
        whole = ipaddress.ip_network(pool.network)
        length = max(whole.prefixlen, min(whole.prefixlen + SLICE_BITS, whole.max_prefixlen - MIN_HOST_BITS))
        free = next((piece for piece in addressing.slices(pool.network, length) if piece not in taken), None)
        if free is None:
            raise Exhausted(
                Reason(
                    "pool {pool} of config {config!r} is cut into {number} slices, "
                    "one for each node, and all are in use",
                    pool=pool.network,
                    config=config.name,
                    number=2 ** (length - whole.prefixlen),
                )
            )
        piece = Pool(
            id=clock.new_id(),
            config_id=config.id,
            assignment_id=assignment.id,
            parent_id=pool.id,
            network=free,
            next_offset=addressing.first_offset(free),
        )
        assignment_rows.add_pool(tx, piece)
        cut.append(piece)
    address_rows.allocate(tx, cut, peers)


def described(drift: Iterable[Drift]) -> list[str]:
    """Return drift as the rows have it: a line for each field, for people."""
    return [drift_words.line(each) for each in drift]


def is_news(
    assignment: Assignment, drift: Iterable[Drift], held: Collection[str] | None, rivals: Mapping[str, str]
) -> bool:
    """Whether a report says something else than the one before it: of drift, or of floating addresses."""
    said = (assignment.drift, assignment.floating_held, assignment.floating_rivals)
    return (described(drift), sorted(held or ()), rivals) != said


def confirmed(
    tx: Tx,
    config_id: str,
    node_id: str,
    generation: int,
    drift: Sequence[Drift],
    summary: str,
    *,
    held: Collection[str] | None,
    rivals: Mapping[str, str] | None = None,
    forwarding: Sequence[Forwarding] = (),
    first_look: FirstLook | None = None,
    objection: str | None = None,
) -> None:
    """Write down what a node's agent says that it has; a joining node that has everything begins to serve.

    `first_look`: the result of probes of it, None: no news. `objection`: why it is not to serve yet all the same.

    One whose machine has no IPv6 serves as well, and the drift says what it lacks.

    `held`: the floating addresses that the node has, None if its agent does not say. `rivals`: what other machines
    say that they have of them, by address. `forwarding`: whether users' packets get through.
    """
    assignment = assignment_rows.get(tx, config_id, node_id)
    if assignment is None:
        return
    if assignment.phase == Phase.JOINING:
        config_rows.lock(tx, config_id)  # before its assignment, as everywhere
    holders.confirmed(tx, assignment, generation, held)
    unrouted = carriers.is_unrouted(assignment)
    forwardings.said(tx, assignment, forwarding)
    is_fenced = not assignment.health.in_use and assignment.applied_generation < assignment.oldest_base <= generation
    if is_fenced or given_up.dropped(tx, node_id, config_id, generation):
        owed_recalls.owe(tx, assignment.id, clock.now())
    assignment_rows.applied(
        tx,
        assignment.id,
        applied_generation=generation,
        applied_at=clock.now(),
        drift=described(drift),
        floating_held=sorted(held or ()),
        floating_rivals=dict(rivals or {}),
        summary=objection or summary,
        first_look=first_look or assignment.first_look,
    )
    if any(each.field == ROUTING_FIELD for each in drift) != unrouted:
        tx.wake(Topic.FLOATING, config_id)  # addresses go to where routers find them
    if assignment.phase == Phase.JOINING and objection is None and harms_no_user(drift):
        serve(tx, assignment)


def settled(tx: Tx, assignment: Assignment) -> tuple[str, ...] | None:
    """Return the drift of a node that serves where nobody waits for what it applies; None: somebody may.

    All that its confirmation changes then is the generation.
    """
    if assignment.phase != Phase.SERVING or not assignment.health.in_use:
        return None
    if assignment.first_look == FirstLook.UNPROVEN or assignment.floating_held or assignment.floating_rivals:
        return None
    if given_up.any_owed(tx, assignment.node_id, assignment.config_id):
        return None
    if operation_rows.any_active(tx, assignment.config_id) or floating_rows.any_of(tx, assignment.config_id):
        return None
    return tuple(assignment.drift)


def applied_peers(tx: Tx, rows: Sequence[AppliedPeers]) -> None:
    """Write down what nodes have applied that were `settled`."""
    assignment_rows.applied_peers(tx, rows)


def serve(tx: Tx, assignment: Assignment) -> None:
    """Let a joined node serve, and give homes to peers that had none."""
    assignment_rows.applied(tx, assignment.id, phase=Phase.SERVING)
    tx.refresh(assignment)
    placed = placement.place_homeless(tx, assignment.config_id)
    holders.reassign(tx, assignment.config_id, renew=True)
    identifier = operations.subject(assignment.config_id, assignment.node_id)
    audit.record(
        tx, audit.PANEL, "serving", "config_node", identifier, peers_placed=placed, first_look=assignment.first_look
    )
    tx.wake(Topic.ASSIGNMENT, assignment.id)


def cleaned(tx: Tx, owed: Cleanup, not_ours: str | None = None) -> None:
    """Note that a node has deleted an interface that it owed. `not_ours`: what is there instead, so nothing was."""
    holders.gave_up(tx, owed.config_id, owed.node_id)
    assignment_rows.delete_cleanup(tx, owed.node_id, owed.config_id)
    action = "interface_deleted" if not_ours is None else "cleanup_settled"
    why = {} if not_ours is None else {"reason": not_ours}
    audit.record(
        tx, audit.PANEL, action, "node", owed.node_id, interface=owed.interface, config_id=owed.config_id, **why
    )
    removal = operation_rows.newest(tx, OperationKind.REMOVE_NODE, operations.subject(owed.config_id, owed.node_id))
    if removal is None:
        return
    if removal.finished_at is None:  # it may be waiting for just this
        operations.wake(tx, removal)
    assignment = assignment_rows.get(tx, owed.config_id, owed.node_id)
    if assignment is None or assignment.health not in {Health.SERVING, Health.SUSPECT}:
        owed_recalls.owe(tx, removal.id, clock.now())


def stray_deleted(tx: Tx, node_id: str, interface: str, config_id: str, generation: int) -> None:
    """Note that a node has deleted an interface of a config that it does not carry here, and never left."""
    about = {"interface": interface, "config_id": config_id, "generation": generation}
    audit.record(tx, audit.PANEL, "stray_deleted", "node", node_id, **about)


def drifted(
    tx: Tx, after: str | None = None, limit: int = 100, within: Limit | None = None
) -> list[tuple[Assignment, Config, Node]]:
    """Return assignments with drift, with config and node, in the order of creation, starting after the id `after`."""
    return assignment_rows.drifted(tx, after, limit, within)
