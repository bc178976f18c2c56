"""Servers that run the agent."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from wgfleet.panel import clock
from wgfleet.panel.domain.authorities import Trust
from wgfleet.panel.domain.fields import may_be_id
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict, Invalid, NotFound, PanelError
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, certificates, operations, reach
from wgfleet.panel.services.dns import name_clashes
from wgfleet.panel.services.fleet import (
    backbone,
    node_deletion,
    node_names,
    old_files,
    peer_nodes,
    shared_addresses,
    witness_keys,
)
from wgfleet.panel.services.fleet.node_values import NodeChanges, check_outside, check_witness, checked
from wgfleet.panel.services.fleet.shared_addresses import Place
from wgfleet.panel.services.floating import isolation
from wgfleet.panel.store import Tx, homes, owed_recalls
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.nodes import NodeConfig, ShownNode
from wgfleet.panel.store.tables import DepartedNode, Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.messages import AGENT_PORT
from wgfleet.protocol.reasons import Reason, words_of


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A new node. `endpoint_name`: its addresses are those of this name.

    `agent_host` None: that name, or the first endpoint address. `witness`: it serves nobody, and has neither.
    """

    name: str
    endpoint_addresses: Sequence[str]
    agent_host: str | None = None
    agent_port: int = AGENT_PORT
    weight: float = 1.0
    capacity: int | None = None
    bandwidth_mbps: int | None = None
    group: str | None = None
    endpoint_name: str | None = None
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
        if self.endpoint_name is not None:
            changes["endpoint_name"] = self.endpoint_name
        return changes


def create(tx: Tx, actor: str, spec: NodeSpec) -> Node:
    """Make a node that no agent has joined yet."""
    if spec.witness:
        check_witness(spec.changeable)
    changes = cast("NodeChanges", node_names.resolved(tx, spec.changeable))
    values = checked(tx, changes, witness=spec.witness)
    if spec.witness and "agent_host" not in values:
        raise Invalid(Reason("say at which host the panel calls the witness's agent"), field="agent_host")
    values.setdefault("endpoint_name", None)
    values.setdefault("agent_host", values["endpoint_name"] or next(iter(values["endpoint_addresses"]), None))
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
        summary=Reason("waiting for its agent to join"),
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
        raise NotFound(Reason("there is no node {reference!r}", reference=reference), Hint(HintCode.LIST_NODES))
    return node


def named(tx: Tx, reference: str, field: str) -> Node:
    """Return the node that a field of a body names."""
    node = node_rows.find(tx, reference)
    if node is None:
        raise NotFound(
            Reason("there is no node {reference!r}", reference=reference), Hint(HintCode.LIST_NODES), field=field
        )
    return node


def resolve(tx: Tx, reference: str) -> str:
    """Return the id of a node by id or name; an id of one that is not there (any more) stands for itself."""
    return reference if may_be_id(reference) else get(tx, reference).id


def page(tx: Tx, after: str | None = None, limit: int = 100, within: Limit | None = None) -> Sequence[Node]:
    """Return nodes in the order of creation, starting after the id `after`."""
    return node_rows.page(tx, after, limit, within)


def shown(tx: Tx, after: str | None = None, limit: int = 100, within: Limit | None = None) -> list[ShownNode]:
    """Return nodes as `page` does, to be looked at."""
    return node_rows.shown(tx, after, limit, within)


def names(tx: Tx, node_ids: Collection[str]) -> dict[str, str]:
    """Return the names of nodes, by id; of those that are gone, none."""
    return node_rows.names(tx, node_ids)


def configs_of(tx: Tx, node_ids: Collection[str]) -> dict[str, list[NodeConfig]]:
    """Return the configs assigned to each node, with how it serves them."""
    return node_rows.configs_of(tx, node_ids)


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
    return _update(tx, actor, node, cast("NodeChanges", node_names.resolved(tx, changes, node)), force=force)


def _update(tx: Tx, actor: str, node: Node, changes: NodeChanges, *, force: bool) -> Node:
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
        name_clashes.check_renamed(tx, node, changed["name"])
    if values.get("next_endpoint_addresses"):
        changed.pop("endpoint_addresses", None)
    _tell_others(tx, node, changed)
    former_name, former_group_id = node.name, node.group_id
    for name, value in changed.items():
        setattr(node, name, value)
    if "group_id" in changed:
        tx.flush()
        peer_nodes.group_changed(tx, node, former_group_id)
    old_files.node_changed(tx, node, changed, former_name)
    audit.record(tx, actor, "updated", "node", node.id, **changed)
    tx.wake(Topic.NODE, node.id)
    return node


def _tell_others(tx: Tx, node: Node, changed: Collection[str]) -> None:
    """Have the other nodes hear of what they know of this one."""
    if "endpoint_addresses" in changed:
        isolation.witnesses_changed(tx, node.id)
    elif "name" in changed:
        backbone.node_changed(tx, node.id)
    elif "group_id" in changed:
        backbone.node_changed(tx, node.id, group=True)


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
        _have(tx, node, wanted, force=True)
    except PanelError as error:  # somebody took one meanwhile
        node.next_endpoint_addresses = []
        audit.record(tx, audit.PANEL, "addresses_refused", "node", node.id, addresses=wanted, reason=words_of(error))
        tx.wake(Topic.NODE, node.id)


def _have(tx: Tx, node: Node, addresses: list[str], *, force: bool) -> None:
    """Change the addresses of a node as the panel does by itself, whether a name says them or not."""
    changes: NodeChanges = {"endpoint_addresses": addresses, "endpoint_name": node.endpoint_name}
    _update(tx, audit.PANEL, node, changes, force=force)


def follow_name(tx: Tx, node_id: str, addresses: list[str]) -> None:
    """Have a node the addresses that its name leads to now: once it answers there, if it serves."""
    node = node_rows.find(tx, node_id)
    if node is not None and node.endpoint_name is not None:
        _have(tx, node, addresses, force=False)


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


def dismissed(tx: Tx, node_id: str, *, deleted: Mapping[str, str] | None = None, given_up: str | None = None) -> None:
    """Note that a departed node's agent has deleted its interfaces, or that it is asked no more.

    `deleted`: their configs, by name. What it sent until then turned clients to it, and they have nobody left there.
    """
    row = node_rows.departed_node(tx, node_id)
    if row is None:
        return
    deleted = deleted or {}
    for config_id in deleted.values():
        about = operations.subject(config_id, node_id)
        if (removal := operation_rows.newest(tx, OperationKind.REMOVE_NODE, about)) is not None:
            owed_recalls.owe(tx, removal.id, clock.now())
    action = "dismissed" if given_up is None else "dismissal_given_up"
    details = {"interfaces": list(deleted)} if given_up is None else {"reason": given_up}
    audit.record(tx, audit.PANEL, action, "node", node_id, name=row.name, **details)
    node_rows.forget_departed(tx, node_id)


def _check_name_is_free(tx: Tx, name: str) -> None:
    if node_rows.find(tx, name) is not None:
        raise Conflict(Reason("a node named {name!r} already exists; choose another name", name=name), field="name")
