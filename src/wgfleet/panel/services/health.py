"""The health of assignments as rows: what is probed, what was decided, and what follows from it at once.

A node that goes down is fenced (its users' peers are taken away, so that a session it still holds turns nobody back
when it returns) and replaced by a failover, or by the removal that it is in; one that serves again gets its users'
peers back.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from wgfleet.panel import clock
from wgfleet.panel.domain import public_ports
from wgfleet.panel.domain.first_look import FirstLook
from wgfleet.panel.domain.health.votes import PANEL, Health, Standing
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit, configs, generations, operations
from wgfleet.panel.services.fleet import probe_keys, witnesses
from wgfleet.panel.services.fleet.shared_addresses import beside_panel
from wgfleet.panel.services.floating import holders
from wgfleet.panel.services.moves import failover
from wgfleet.panel.services.operations import subject
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import health as health_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Assignment, Config, EndpointGroup, HealthEvent, Node, ProbeKeyRotation
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.protocol.addresses import join_endpoint
from wgfleet.protocol.ids import NodeId

WATCHED = {Phase.SERVING, Phase.DRAINING}
TOLD = {Health.DOWN, Health.RECOVERING, Health.UNMANAGED}


@dataclass(frozen=True, slots=True)
class Probed:
    """An assignment that is watched. `leaving`: its node is being removed.

    `client_endpoints`: where clients send to, each address of the node at the port of their files, or at the node's
    public port where it has one; `endpoints`: these, and the same addresses at the port where the node listens.

    `next_endpoints`: where they shall send to once it answers there, beside these: at new addresses; and
    `next_port_endpoints`: at a new public port.

    `panel_key` is the probe key with which the panel asks it. `node_key` is that with which its node asks others, and
    `new_node_key` the same for those that know the keys of a rotation (`knows_new_keys`); they are equal without one.
    `beside_panel`: it runs on the panel's machine.
    """

    assignment_id: str
    config_id: str
    config_name: str
    node_id: NodeId
    beside_panel: bool
    endpoint: str
    public_key: str
    panel_key: str
    node_key: str
    new_node_key: str
    knows_new_keys: bool
    min_nodes: int
    domain: str
    paused: bool
    leaving: bool
    fence_generation: int
    applied_generation: int
    standing: Standing
    endpoints: tuple[str, ...] = ()
    client_endpoints: tuple[str, ...] = ()
    next_endpoints: tuple[str, ...] = ()
    next_port_endpoints: tuple[str, ...] = ()

    def key_towards(self, other: "Probed") -> str:
        """Return the key with which this node asks another."""
        return self.new_node_key if other.knows_new_keys else self.node_key

    def __repr__(self) -> str:
        """Say which, without the keys."""
        return f"Probed({self.config_name!r} on {self.node_id!r} at {self.endpoint!r})"


@dataclass(frozen=True, slots=True)
class Looker:
    """A witness as it looks at the nodes of a config; the keys as in `Probed`."""

    config_id: str
    config_name: str
    node_id: NodeId
    domain: str
    node_key: str = field(repr=False)
    new_node_key: str = field(repr=False)
    unreached: int = 0

    def key_towards(self, other: Probed) -> str:
        """Return the key with which this witness asks a node."""
        return self.new_node_key if other.knows_new_keys else self.node_key


@dataclass(frozen=True, slots=True)
class Vantage:
    """A node that can be asked to look at another of its config, with the key that it probes with."""

    node_id: str
    node_name: str
    probe_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A node before anybody has had an answer of it. `serves`: it does so already, by its agent's word.

    `proven`: another node is reached, so that silence says something. `vantages`: the other nodes of the config.
    """

    probed: Probed
    serves: bool
    proven: bool
    vantages: tuple[Vantage, ...]


def watched(tx: Tx, vault: Vault, unreadable: Callable[[str, VaultError], None], site: str = "") -> list[Probed]:
    """Return every assignment whose node's data plane is to be watched. `site`: the one that the panel stands in.

    One whose keys cannot be read is left out; `unreadable` is called with its config's name and why.
    """
    found = []
    rows = health_rows.watched(tx)
    rotations = probe_keys.rotations(tx)
    domain_of = _domains(tx, [node for _, _, node, _ in rows], site)
    for assignment, config, node, group in rows:
        try:
            row = rotations.get(config.id)
            knows_new = probe_keys.knows_new(row, assignment)
            domain = domain_of.get(node.id, "")
            found.append(_probed(vault, assignment, config, node, group, domain, row, knows_new=knows_new))
        except VaultError as error:
            unreadable(config.name, error)
    return found


def lookers(tx: Tx, vault: Vault, unreadable: Callable[[str, VaultError], None], site: str = "") -> list[Looker]:
    """Return the witnesses of every config; the parameters as of `watched`."""
    rows = witnesses.looking(tx)
    if not rows:
        return []
    found = []
    domain_of = domains_of_nodes(tx, site)
    rotations = probe_keys.rotations(tx)
    for row in rows:
        try:
            key = probe_keys.of_node(vault, row.key, new=False)
            new_key = probe_keys.of_node(vault, row.key, new=True) if row.config.id in rotations else key
        except VaultError as error:
            unreadable(row.config.name, error)
            continue
        domain = domain_of.get(row.node.id, "")
        found.append(
            Looker(row.config.id, row.config.name, NodeId(row.node.id), domain, key, new_key, row.key.unreached)
        )
    return found


def domains_of_nodes(tx: Tx, site: str) -> dict[str, str]:
    """Return the failure domain of each node and witness that stands in a site. `site`: the panel's own."""
    return _domains(tx, node_rows.everything(tx), site)


def _domains(tx: Tx, nodes: Sequence[Node], site: str) -> dict[str, str]:
    """Return the failure domain of each node that stands in a site: the panel's, or another."""
    site_of = health_rows.sites(tx)
    panels = {site} if site else {site_of[node.id] for node in nodes if beside_panel(node) and node.id in site_of}
    return {node_id: PANEL if found in panels else f"site {found}" for node_id, found in site_of.items()}


def newcomer(tx: Tx, vault: Vault, config_id: str, node_id: str) -> Newcomer | None:
    """Return a node that joins, or serves unproven, as it is looked at.

    None for any other, and for one that has nothing that could answer.
    """
    assignment = assignment_rows.get(tx, config_id, node_id)
    config, node = config_rows.find(tx, config_id), node_rows.find(tx, node_id)
    if assignment is None or config is None or not config.enabled or node is None:
        return None
    serves = assignment.phase == Phase.SERVING and assignment.first_look == FirstLook.UNPROVEN
    if assignment.phase != Phase.JOINING and not serves:
        return None
    others = [
        (other, name.name)
        for other, name in assignment_rows.of_config(tx, config_id)
        if other.id != assignment.id and other.phase != Phase.REMOVED and other.applied_generation
    ]
    # Those that serve well first: one that joins as well may itself be what is cut off.
    others.sort(key=lambda each: (each[0].phase == Phase.JOINING, each[0].health is not Health.SERVING, each[0].id))
    rotation = probe_keys.rotation(tx, config)
    # One that joins is looked at when its agent has everything, which is written down with the result.
    knows_new = rotation is not None and (not serves or probe_keys.knows_new(rotation, assignment))
    group = endpoint_group_rows.get(tx, config_id)
    return Newcomer(
        probed=_probed(vault, assignment, config, node, group, "", rotation, knows_new=knows_new),
        serves=serves,
        proven=any(
            other.node_id != node_id and other.health is Health.SERVING for other, _, _, _ in health_rows.watched(tx)
        ),
        vantages=tuple(
            Vantage(other.node_id, name, probe_keys.of_node(vault, other, new=knows_new)) for other, name in others
        ),
    )


def _probed(
    vault: Vault,
    assignment: Assignment,
    config: Config,
    node: Node,
    group: EndpointGroup | None,
    domain: str,
    rotation: ProbeKeyRotation | None,
    *,
    knows_new: bool,
) -> Probed:
    node_key = probe_keys.of_node(vault, assignment, new=False)
    files_port, own = group.port if group else config.listen_port, assignment.public_port
    port, client_port = public_ports.from_outside(config.listen_port, own), public_ports.of_clients(files_port, own)
    new = [each for each in node.next_endpoint_addresses if each not in node.endpoint_addresses]
    next_endpoints = _endpoints(new, client_port)
    next_port = assignment.next_public_port
    next_port_endpoints = (
        () if next_port is None else _endpoints(node.endpoint_addresses, public_ports.of_clients(files_port, next_port))
    )
    return Probed(
        assignment_id=assignment.id,
        config_id=config.id,
        config_name=config.name,
        node_id=NodeId(node.id),
        beside_panel=beside_panel(node),
        endpoint=join_endpoint(node.endpoint_addresses[0], port),
        public_key=_public_key(config, assignment),
        panel_key=probe_keys.of_panel(vault, config, rotation, new=knows_new),
        node_key=node_key,
        new_node_key=node_key if rotation is None else probe_keys.of_node(vault, assignment, new=True),
        knows_new_keys=knows_new,
        min_nodes=group.min_nodes if group else 1,
        domain=domain,
        paused=config.paused_since is not None,
        leaving=assignment.phase == Phase.DRAINING,
        fence_generation=assignment.oldest_base,
        applied_generation=assignment.applied_generation,
        standing=_standing(assignment),
        endpoints=tuple(
            dict.fromkeys(_endpoints(node.endpoint_addresses, port, client_port) + next_endpoints + next_port_endpoints)
        ),
        client_endpoints=_endpoints(node.endpoint_addresses, client_port),
        next_endpoints=next_endpoints,
        next_port_endpoints=next_port_endpoints,
    )


def _endpoints(addresses: Sequence[str], *ports: int) -> tuple[str, ...]:
    found = [join_endpoint(address, port) for address in addresses for port in ports]
    return tuple(dict.fromkeys(found))


def _public_key(config: Config, assignment: Assignment) -> str:
    return (assignment.public_key if config.mode == configs.INDEPENDENT else config.public_key) or ""


def _standing(assignment: Assignment) -> Standing:
    return Standing(
        assignment.health,
        assignment.health_since,
        assignment.health_reason,
        tuple(assignment.flaps),
        tuple(assignment.silent_addresses),
    )


def record(tx: Tx, config_id: str, standings: Mapping[str, Standing], *, silent: Collection[str] = ()) -> None:
    """Write down what was decided of nodes of a config, by id, and begin what follows from it.

    All at once, so that what one loses goes to none that goes down with it. `silent`: nodes whose agents do not answer.
    """
    found = [(assignment_rows.get(tx, config_id, node_id), standing) for node_id, standing in standings.items()]
    # One that was retired meanwhile does not answer because its interface is deleted.
    changed = [(assignment, standing) for assignment, standing in found if assignment and assignment.phase in WATCHED]
    before = {assignment.id: assignment.health for assignment, _ in changed}
    fencing = [
        assignment.id for assignment, standing in changed if before[assignment.id].in_use != standing.state.in_use
    ]
    # No delta leads in or out of a fence; anything else changes nothing that a node must have.
    generation = generations.bump(tx, config_id) if fencing else 0
    for assignment, standing in changed:
        health_rows.change(
            tx,
            assignment.id,
            health=standing.state,
            health_since=standing.since,
            health_reason=standing.reason,
            flaps=list(standing.flaps),
            silent_addresses=list(standing.silent_addresses),
            oldest_base=generation if assignment.id in fencing else assignment.oldest_base,
        )
        tx.wake(Topic.ASSIGNMENT, assignment.id)
    if fencing:
        holders.reassign(tx, config_id, silent=silent)
    for assignment, standing in changed:
        if standing.state is Health.UNMANAGED:
            tx.wake(Topic.FLOATING, config_id)  # its kernel will take the addresses off that its agent does not renew
        if before[assignment.id] is not standing.state:
            _tell(tx, assignment, before[assignment.id], standing)
            if standing.state is Health.DOWN:
                _replace(tx, assignment, str(standing.reason))


def _tell(tx: Tx, assignment: Assignment, before: Health, standing: Standing) -> None:
    health_rows.add_event(
        tx,
        HealthEvent(
            config_id=assignment.config_id,
            node_id=assignment.node_id,
            at=clock.now(),
            before=before.value,
            after=standing.state.value,
            reason=standing.reason,
        ),
    )
    if {before, standing.state} & TOLD:
        about = subject(assignment.config_id, assignment.node_id)
        details = {"before": before.value, "reason": standing.reason}
        audit.record(tx, audit.PANEL, f"health_{standing.state}", "config_node", about, **details)


def _replace(tx: Tx, assignment: Assignment, reason: str) -> None:
    """Have the peers of a dead node move; a removal that it is in does that, and must not go on waiting for it."""
    if assignment.phase == Phase.DRAINING:
        about = subject(assignment.config_id, assignment.node_id)
        removal = operation_rows.newest(tx, OperationKind.REMOVE_NODE, about)
        if removal is not None and removal.finished_at is None:
            operations.wake(tx, removal)
    elif _migrates(tx, assignment.config_id):
        failover.start(tx, assignment, reason)


def _migrates(tx: Tx, config_id: str) -> bool:
    """Whether peers of a dead node are moved by themselves; a config without an endpoint group wants it."""
    group = endpoint_group_rows.get(tx, config_id)
    return group is None or group.auto_migrate


def history(tx: Tx, config_id: str, node_id: str | None = None, limit: int = 100) -> Sequence[HealthEvent]:
    """Return the latest changes of a config's nodes, newest first."""
    return health_rows.events(tx, config_id, node_id, limit)
