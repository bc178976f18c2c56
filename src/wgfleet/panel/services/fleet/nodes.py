"""Servers that run the agent."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain import clocks
from wgfleet.panel.domain.authorities import Trust
from wgfleet.panel.domain.certificates import NO_KEY, Issued
from wgfleet.panel.domain.fields import may_be_id
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict, Invalid, NotFound, PanelError
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, certificates, reach
from wgfleet.panel.services.fleet import backbone, node_deletion, shared_addresses, witness_keys
from wgfleet.panel.services.fleet.node_values import NodeChanges, check_outside, check_witness, checked
from wgfleet.panel.services.fleet.shared_addresses import Place
from wgfleet.panel.services.floating import isolation
from wgfleet.panel.store import Tx, homes
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import installation as installation_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import DepartedNode, Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import parse_port
from wgfleet.protocol.features import Feature
from wgfleet.protocol.messages import AGENT_PORT

_KEYS_KEPT = 4  # of renewals of an agent that have not ended, beside the one that it showed last


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A new node. `agent_host` None: the first endpoint address. `witness`: it serves nobody, and has none."""

    name: str
    endpoint_addresses: Sequence[str]
    agent_host: str | None = None
    agent_port: int = AGENT_PORT
    weight: float = 1.0
    capacity: int | None = None
    bandwidth_mbps: int | None = None
    group: str | None = None
    is_panel_node: bool = False
    witness: bool = False

    @property
    def changeable(self) -> NodeChanges:
        """Return what may change later; without the agent's host where that follows from the addresses."""
        changes = NodeChanges(
            name=self.name,
            endpoint_addresses=self.endpoint_addresses,
            agent_port=self.agent_port,
            weight=self.weight,
            capacity=self.capacity,
            bandwidth_mbps=self.bandwidth_mbps,
            group=self.group,
        )
        if self.agent_host is not None:
            changes["agent_host"] = self.agent_host
        return changes


def create(tx: Tx, actor: str, spec: NodeSpec) -> Node:
    """Make a node that no agent has joined yet."""
    if spec.witness:
        check_witness(spec.changeable)
    values = checked(tx, spec.changeable, witness=spec.witness)
    if spec.witness and "agent_host" not in values:
        raise Invalid("say at which host the panel calls the witness's agent", field="agent_host")
    values.setdefault("agent_host", next(iter(values["endpoint_addresses"]), None))
    check_outside(tx, values)
    reach.check_agent_port(tx, spec.agent_port, "agent_port")
    shared_addresses.check(tx, Place.of(values), named=spec.changeable)
    _check_name_is_free(tx, spec.name)
    node = Node(
        id=clock.new_id(),
        **values,
        cordoned=False,
        is_panel_node=spec.is_panel_node,
        witness=spec.witness,
        certificate_expires_at=None,
        agent_keys=[],
        trusts=Trust.CURRENT,
        connected=False,
        last_seen_at=None,
        agent_version=None,
        agent_features=[],
        summary="waiting for its agent to join",
        created_at=clock.now(),
    )
    node_rows.add(tx, node)
    told = {"witness": True} if spec.witness else {"endpoint_addresses": node.endpoint_addresses}
    audit.record(tx, actor, "created", "node", node.id, name=spec.name, **told)
    tx.wake(Topic.NODE, node.id)
    return node


def create_witness(tx: Tx, vault: Vault, actor: str, spec: NodeSpec) -> Node:
    """Make a witness that no agent has joined yet, and have the nodes of all configs answer it."""
    node = create(tx, actor, spec)
    witness_keys.for_new_witness(tx, vault, node)
    return node


def get(tx: Tx, reference: str) -> Node:
    """Return a node by id or name."""
    node = node_rows.find(tx, reference)
    if node is None:
        raise NotFound(f"there is no node {reference!r}", Hint(HintCode.LIST_NODES))
    return node


def named(tx: Tx, reference: str, field: str) -> Node:
    """Return the node that a field of a body names."""
    node = node_rows.find(tx, reference)
    if node is None:
        raise NotFound(f"there is no node {reference!r}", Hint(HintCode.LIST_NODES), field=field)
    return node


def resolve(tx: Tx, reference: str) -> str:
    """Return the id of a node by id or name; an id of one that is not there (any more) stands for itself."""
    return reference if may_be_id(reference) else get(tx, reference).id


def page(tx: Tx, after: str | None = None, limit: int = 100, within: Limit | None = None) -> Sequence[Node]:
    """Return nodes in the order of creation, starting after the id `after`."""
    return node_rows.page(tx, after, limit, within)


def config_names(tx: Tx, node_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the names of the configs assigned to each node."""
    return node_rows.config_names(tx, node_ids)


def home_counts(tx: Tx, node_ids: Collection[str]) -> dict[str, int]:
    """Return how many peers have their home on each node; nodes without one are left out."""
    return homes.of_nodes(tx, node_ids)


def update(tx: Tx, actor: str, node: Node, changes: NodeChanges, *, force: bool = False) -> Node:
    """Change a node. New addresses of one that serves are used once it answers there; with `force` at once."""
    if node.witness:
        check_witness(changes)
    values = checked(tx, changes, witness=node.witness)
    if "endpoint_addresses" in values:
        values["next_endpoint_addresses"] = [] if force else _to_be_proven(tx, node, values["endpoint_addresses"])
    changed = {name: value for name, value in values.items() if getattr(node, name) != value}
    if not changed:
        return node
    check_outside(tx, changed, known=node.endpoint_addresses)
    if "agent_port" in changed:
        reach.check_agent_port(tx, changed["agent_port"], "agent_port")
    if shared_addresses.CONCERNED & changed.keys():
        shared_addresses.check(tx, Place.of(changed, node), named=changed)
    if "name" in changed:
        _check_name_is_free(tx, changed["name"])
    if values.get("next_endpoint_addresses"):
        changed.pop("endpoint_addresses", None)
    _tell_others(tx, node, changed)
    for name, value in changed.items():
        setattr(node, name, value)
    audit.record(tx, actor, "updated", "node", node.id, **changed)
    tx.wake(Topic.NODE, node.id)
    return node


def _tell_others(tx: Tx, node: Node, changed: Collection[str]) -> None:
    """Have the other nodes hear of what they know of this one."""
    if "endpoint_addresses" in changed:
        isolation.witnesses_changed(tx, node.id)
    elif "name" in changed:
        backbone.node_changed(tx, node.id)


def _to_be_proven(tx: Tx, node: Node, wanted: list[str]) -> list[str]:
    """Return the addresses by which clients may lose a node, since it serves and was never seen at some; or none."""
    serves = any(
        assignment.phase in {Phase.SERVING, Phase.DRAINING} and assignment.health.in_use and config.enabled
        for assignment, config in assignment_rows.of_node(tx, node.id)
    )
    return wanted if serves and not {*wanted} <= {*node.endpoint_addresses} else []


def use_answering(tx: Tx, node_id: str, answering: Collection[str]) -> None:
    """Use the next addresses of a node if it answers at all that are new. `answering`: those where it does."""
    node = node_rows.find(tx, node_id)
    if node is None or not node.next_endpoint_addresses:
        return
    wanted = node.next_endpoint_addresses
    if not {*wanted} <= {*node.endpoint_addresses, *answering}:
        return
    try:
        update(tx, audit.PANEL, node, {"endpoint_addresses": wanted}, force=True)
    except PanelError as error:  # somebody took one meanwhile
        node.next_endpoint_addresses = []
        audit.record(tx, audit.PANEL, "addresses_refused", "node", node.id, addresses=wanted, reason=str(error))
        tx.wake(Topic.NODE, node.id)


def delete(tx: Tx, actor: str, node: Node, *, force: bool = False) -> None:
    """Delete a node that has no config. `force`: also one that still has to delete interfaces.

    Its agent is asked to delete them whenever it can be reached.
    """
    node_deletion.check(tx, node, force=force)
    owed = node_rows.owed_interfaces(tx, node.id)
    if node.certificate_expires_at is not None:
        departed = DepartedNode(
            id=node.id,
            name=node.name,
            agent_host=node.agent_host,
            agent_port=node.agent_port,
            deleted_at=clock.now(),
            agent_keys=node.agent_keys,
            trusts=node.trusts,
            summary="not asked yet",
        )
        node_rows.depart(tx, departed)
    certificates.replaced(tx, actor, node.id)
    witness_keys.forget(tx, node)
    node_rows.delete(tx, node)
    audit.record(tx, actor, "deleted", "node", node.id, name=node.name, forgotten_interfaces=list(owed))
    tx.wake(Topic.NODE, node.id)


def departed(tx: Tx) -> list[DepartedNode]:
    """Return the deleted nodes whose agents have yet to hear of it."""
    return node_rows.departed(tx)


def not_dismissed(tx: Tx, node_id: str, reason: str) -> None:
    """Keep why a departed node's agent could not be asked."""
    row = node_rows.departed_node(tx, node_id)
    if row is not None:
        row.summary = reason


def dismissed(tx: Tx, node_id: str, *, deleted: Sequence[str] = (), given_up: str | None = None) -> None:
    """Note that a departed node's agent has deleted its interfaces, or that it is asked no more."""
    row = node_rows.departed_node(tx, node_id)
    if row is not None:
        action = "dismissed" if given_up is None else "dismissal_given_up"
        details = {"interfaces": list(deleted)} if given_up is None else {"reason": given_up}
        audit.record(tx, audit.PANEL, action, "node", node_id, name=row.name, **details)
        node_rows.forget_departed(tx, node_id)


def enrolled(tx: Tx, node: Node, *, agent_port: int, issued: Issued, trusts: Trust = Trust.CURRENT) -> None:
    """Note that an agent has joined as this node, with this certificate from now on; any other is refused.

    `trusts`: the CAs that it was given, as of this transaction.
    """
    actor = f"node:{node.name}"
    certificates.check_key(tx, issued.key)
    certificates.replaced(tx, actor, node.id)
    certificates.of_agent(tx, actor, node, issued)
    if parse_port(agent_port, "port") != node.agent_port:
        reach.check_agent_port(tx, agent_port, "port")
        shared_addresses.check(tx, Place.of({"agent_port": agent_port}, node), named={"port"})
    node.agent_port = agent_port
    node.certificate_expires_at = issued.expires_at
    node.agent_keys = [issued.key]
    node.trusts = trusts
    node.revocations = None
    node.agent_features = []  # it may be another machine, and another release
    node.summary = "joined; not connected yet"
    audit.record(tx, actor, "enrolled", "node", node.id, certificate_expires_at=issued.expires_at)
    tx.wake(Topic.NODE, node.id)


def renewing(tx: Tx, node_id: str, issued: Issued, allowed: Collection[str], shown: str | None = None) -> list[str]:
    """Keep a certificate that an agent is about to get; return the keys that it may show until it has it.

    `allowed`: the keys that it could show when it was asked for its request. Another may have enrolled since, so that
    the panel was talking to who was this node before. `shown`: the one that it showed last, if that is known: it stays
    among them however often the agent refuses, or its answers are lost.
    """
    node = get(tx, node_id)
    certificates.check_key(tx, issued.key)
    if NO_KEY in node.agent_keys:
        raise Conflict(
            f"the certificate of node {node.name!r} was revoked", Hint(HintCode.MAKE_JOIN_TOKEN, node=node.name)
        )
    if node.agent_keys and not {*node.agent_keys} & {*allowed}:
        raise Conflict(f"another agent has enrolled as node {node.name!r} meanwhile; this one is renewed no more")
    certificates.of_agent(tx, audit.PANEL, node, issued)
    if node.agent_keys:  # unknown: any is accepted until it is renewed
        sure = shown if shown in node.agent_keys else node.agent_keys[0]
        others = [key for key in node.agent_keys if key != sure]
        node.agent_keys = [sure, *others[-_KEYS_KEPT:], issued.key]
    return node.agent_keys


def renewed(
    tx: Tx, node_id: str, issued: Issued, trusts: Trust = Trust.CURRENT, rotation_id: str | None = None
) -> None:
    """Note that an agent has its new certificate, and that its others are refused.

    Nothing of that where the new one was revoked meanwhile, or where another agent has enrolled. `trusts`: the CAs that
    it was given in that rotation of ours.
    """
    if certificates.is_revoked_key(tx, issued.key):
        return
    installation_rows.lock_authority(tx)
    rotation = installation_rows.rotation(tx)
    node = get(tx, node_id)
    node.trusts = trusts if rotation is not None and rotation.id == rotation_id else Trust.CURRENT
    certificates.replaced(tx, audit.PANEL, node_id, [issued.key])
    node.certificate_expires_at = issued.expires_at
    node.agent_keys = [issued.key]
    audit.record(tx, audit.PANEL, "certificate_renewed", "node", node_id, certificate_expires_at=issued.expires_at)


def reported(
    tx: Tx,
    node_id: str,
    *,
    connected: bool,
    last_seen_at: float | None = None,
    version: str | None = None,
    known: Collection[Feature] | None = None,
    summary: str | None = None,
) -> None:
    """Keep what the node's reconciler last saw; None leaves a value as it is. Not audited.

    `known`: the features that its agent has; other nodes may have to hear of them.
    """
    if known is not None:
        before = node_rows.agent_features(tx, [node_id]).get(node_id, [])
        if (Feature.BACKBONE in before) != (Feature.BACKBONE in known):
            backbone.node_changed(tx, node_id)
    values: dict[str, Any] = {
        "connected": connected,
        "last_seen_at": last_seen_at,
        "agent_version": version,
        "agent_features": None if known is None else sorted(known),
        "summary": summary,
    }
    if not node_rows.set_values(tx, node_id, {column: value for column, value in values.items() if value is not None}):
        raise NotFound(f"there is no node {node_id!r}; it has been deleted")


def knowing(tx: Tx, node_ids: Collection[str], feature: Feature) -> set[str]:
    """Return those of some nodes whose agents had a feature when they were last heard."""
    return {node_id for node_id, found in node_rows.agent_features(tx, node_ids).items() if feature in found}


def heard(tx: Tx, reports: Mapping[str, tuple[float, float | None]]) -> None:
    """Keep when agents were last heard, and how far their clocks are ahead, by node id.

    Nodes that were deleted meanwhile are passed over.
    """
    node_rows.set_heard(tx, reports)


def clock_warning(node: Node) -> str | None:
    """Say that a node's clock is wrong, or None."""
    ahead_s = node.clock_ahead_s or 0.0
    if clocks.is_right(ahead_s):
        return None
    way = "ahead of" if ahead_s > 0 else "behind"
    return (
        f"its clock is {abs(ahead_s):.0f} s {way} the panel's: clients refuse calls with earlier times than they have "
        "seen, so takeovers may fail for as long; run NTP on both"
    )


def _check_name_is_free(tx: Tx, name: str) -> None:
    if node_rows.find(tx, name) is not None:
        raise Conflict(f"a node named {name!r} already exists; choose another name", field="name")
