"""Rows of nodes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, bindparam, or_, select, update
from sqlalchemy import delete as delete_rows

from wgfleet.panel.domain.authorities import Trust
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.store.among import among
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import upsert_many
from wgfleet.panel.store.tables import Assignment, Cleanup, Config, DepartedNode, Node, NodeLoad


class ShownNode(NamedTuple):
    """A node to be looked at, as in `Node`: of columns, since a list has hundreds, and objects take twice as long."""

    id: str
    name: str
    group_id: str | None
    endpoint_addresses: list[str]
    endpoint_name: str | None
    next_endpoint_addresses: list[str]
    agent_host: str
    agent_port: int
    weight: float
    capacity: int | None
    bandwidth_mbps: int | None
    cordoned: bool
    is_panel_node: bool
    witness: bool
    certificate_expires_at: float | None
    connected: bool
    last_seen_at: float | None
    clock_ahead_s: float | None
    agent_version: str | None
    agent_features: list[str]
    summary: str
    created_at: float


AnyNode = Node | ShownNode


class LoadRow(NamedTuple):
    """How busy a node is, as in `NodeLoad`."""

    node_id: str
    cpu: float
    memory: float
    bandwidth: float
    at: float


def add(tx: Tx, node: Node) -> None:
    """Add a node."""
    tx.session.add(node)
    tx.session.flush()


_NODE = select(Node).where(or_(Node.id == bindparam("reference"), Node.name == bindparam("reference")))


def find(tx: Tx, reference: str) -> Node | None:
    """Return the node of that id or name."""
    return tx.session.scalar(_NODE, {"reference": reference})


def ids(tx: Tx) -> list[str]:
    """Return the ids of all nodes."""
    return list(tx.session.scalars(select(Node.id).order_by(Node.id)))


def page(tx: Tx, after: str | None, limit: int, within: Limit | None = None) -> Sequence[Node]:
    """Return nodes in the order they were made, after the id `after`."""
    query = select(Node).order_by(Node.id).limit(limit)
    if within is not None:
        query = query.where(Node.group_id.in_(within.groups))
    return tx.session.scalars(query.where(Node.id > after) if after else query).all()


_SHOWN = (
    select(*(getattr(Node, name) for name in ShownNode._fields))
    .where(Node.id > bindparam("after"))
    .order_by(Node.id)
    .limit(bindparam("most"))
)


def shown(tx: Tx, after: str | None, limit: int, within: Limit | None = None) -> list[ShownNode]:
    """Return nodes as `page` does, to be looked at."""
    query = _SHOWN if within is None else _SHOWN.where(Node.group_id.in_(within.groups))
    return [ShownNode(*row) for row in tx.connection.execute(query, {"after": after or "", "most": limit})]


def endpoint_addresses(tx: Tx) -> dict[str, str]:
    """Return the name of the node behind each endpoint address."""
    found = tx.session.execute(select(Node.name, Node.endpoint_addresses))
    return {address: name for name, addresses in found for address in addresses}


def ids_by_address(tx: Tx) -> dict[str, str]:
    """Return the id of the node behind each endpoint address."""
    found = tx.session.execute(select(Node.id, Node.endpoint_addresses))
    return {address: node_id for node_id, addresses in found for address in addresses}


def named(tx: Tx) -> Sequence[Node]:
    """Return the nodes whose addresses are those of a name, oldest first."""
    return tx.session.scalars(select(Node).where(Node.endpoint_name.is_not(None)).order_by(Node.id)).all()


def agent_hosts(tx: Tx) -> list[tuple[str, str]]:
    """Return the name of each node and the host of its agent."""
    return [(name, host) for name, host in tx.session.execute(select(Node.name, Node.agent_host))]


def agent_ports(tx: Tx) -> dict[int, str]:
    """Return the ports of agents, each with the name of a node whose agent has it."""
    found = tx.session.execute(select(Node.agent_port, Node.name).order_by(Node.id.desc()))
    return {port: name for port, name in found}  # noqa: C416 - rows are no pairs to mypy


def everything(tx: Tx) -> Sequence[Node]:
    """Return all nodes, oldest first."""
    return tx.session.scalars(select(Node).order_by(Node.id)).all()


def of_panels(tx: Tx) -> Sequence[Node]:
    """Return the nodes that a panel made of its own machine, oldest first."""
    return tx.session.scalars(select(Node).where(Node.is_panel_node).order_by(Node.id)).all()


class NodePlace(NamedTuple):
    """Where clients find a node."""

    id: str
    name: str
    endpoint_addresses: list[str]


_PLACES = select(Node.id, Node.name, Node.endpoint_addresses).order_by(Node.id)


def places(tx: Tx) -> list[NodePlace]:
    """Return where clients find each node, oldest first; of columns, since every list of nodes asks for all."""
    return [NodePlace(*row) for row in tx.connection.execute(_PLACES).all()]


def names(tx: Tx, node_ids: Collection[str]) -> dict[str, str]:
    """Return the names of nodes, by id."""
    return dict(tx.session.execute(select(Node.id, Node.name).where(Node.id.in_(node_ids))).all())


# Made once: each list of nodes asks for them.
_CONFIG_NAMES = (
    select(Assignment.node_id, Config.name)
    .join(Config, Config.id == Assignment.config_id)
    .where(among(Assignment.node_id, "ids"))
    .order_by(Config.name)
)
_CONFIGS = (
    select(Assignment.node_id, Config.name, Assignment.phase, Assignment.health, Assignment.health_reason)
    .join(Config, Config.id == Assignment.config_id)
    .where(among(Assignment.node_id, "ids"))
    .order_by(Config.name)
)
_LOADS = select(*(getattr(NodeLoad, name) for name in LoadRow._fields)).where(among(NodeLoad.node_id, "ids"))
_BANDWIDTHS = select(Node.id, Node.bandwidth_mbps).where(among(Node.id, "ids"))


def config_names(tx: Tx, node_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the names of the configs assigned to each node, in whatever phase."""
    found: dict[str, list[str]] = {node_id: [] for node_id in node_ids}
    tx.settle()
    for node_id, name in tx.connection.execute(_CONFIG_NAMES, {"ids": list(node_ids)}):
        found[node_id].append(name)
    return found


class NodeConfig(NamedTuple):
    """A config that is assigned to a node, and how the node serves it."""

    node_id: str
    name: str
    phase: Phase
    health: Health
    health_reason: str


def configs_of(tx: Tx, node_ids: Collection[str]) -> dict[str, list[NodeConfig]]:
    """Return the configs assigned to each node, in whatever phase, by name."""
    found: dict[str, list[NodeConfig]] = {node_id: [] for node_id in node_ids}
    tx.settle()
    for row in tx.connection.execute(_CONFIGS, {"ids": list(node_ids)}):
        found[row[0]].append(NodeConfig(*row))
    return found


def loads(tx: Tx, node_ids: Collection[str]) -> dict[str, LoadRow]:
    """Return how busy nodes were when they last said so; those that never did are left out."""
    return {row[0]: LoadRow(*row) for row in tx.connection.execute(_LOADS, {"ids": list(node_ids)})}


def agent_features(tx: Tx, node_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the features of nodes' agents."""
    query = select(Node.id, Node.agent_features).where(Node.id.in_(node_ids))
    return {row.id: row.agent_features for row in tx.session.execute(query)}


def is_connected(tx: Tx, node_id: str) -> bool:
    """Tell whether a node's agent was connected when its row was last written."""
    return bool(tx.session.scalar(select(Node.connected).where(Node.id == node_id)))


def bandwidths(tx: Tx, node_ids: Collection[str]) -> dict[str, int | None]:
    """Return the bandwidth that was set for those nodes that there are, in Mbit/s."""
    tx.settle()
    return dict(tx.connection.execute(_BANDWIDTHS, {"ids": list(node_ids)}).all())


def set_loads(tx: Tx, rows: Sequence[LoadRow]) -> None:
    """Keep how busy nodes are, instead of what they said before."""
    kept = {name: f"excluded.{name}" for name in LoadRow._fields[1:]}
    upsert_many(tx, cast("Table", NodeLoad.__table__), LoadRow._fields, rows, ("node_id",), kept)


def owed_interfaces(tx: Tx, node_id: str) -> Sequence[str]:
    """Return the interfaces that the node still has to delete."""
    return tx.session.scalars(select(Cleanup.interface).where(Cleanup.node_id == node_id)).all()


def set_values(tx: Tx, node_id: str, values: dict[str, Any]) -> bool:
    """Set columns of a node; False where there is no such node."""
    return tx.session.scalar(update(Node).where(Node.id == node_id).values(values).returning(Node.id)) is not None


def set_heard(tx: Tx, heard: Mapping[str, tuple[float, float | None]]) -> None:
    """Set when each node was last seen, and how far its clock is ahead, in one round trip for all."""
    change = update(Node).where(Node.id == bindparam("node_id"))
    change = change.values(last_seen_at=bindparam("at"), clock_ahead_s=bindparam("ahead_s"))
    # In order of their ids, so that no two such transactions wait for each other's rows.
    values = [{"node_id": node_id, "at": at, "ahead_s": ahead_s} for node_id, (at, ahead_s) in sorted(heard.items())]
    tx.session.connection().execute(change, values)


def all_disconnected(tx: Tx) -> None:
    """Set every node as not connected."""
    tx.session.execute(update(Node).where(Node.connected).values(connected=False))


def forget_agent_keys(tx: Tx, but: str) -> None:
    """Set the keys of all nodes' agents as unknown, but for nodes that have this one."""
    for node in tx.session.scalars(select(Node).where(Node.certificate_expires_at.is_not(None)).with_for_update()):
        if but not in node.agent_keys:
            node.agent_keys = []


def trusting_other_than(tx: Tx, trusts: Collection[Trust]) -> Sequence[Node]:
    """Return the nodes with an agent that trusts other CAs than these, by name."""
    query = select(Node).where(Node.certificate_expires_at.is_not(None), Node.trusts.not_in(trusts))
    return tx.session.scalars(query.order_by(Node.name)).all()


def all_trust_current(tx: Tx) -> None:
    """Set every node, departed ones included, as one that trusts the present CA."""
    for table in (Node, DepartedNode):
        tx.session.execute(update(table).where(table.trusts != Trust.CURRENT).values(trusts=Trust.CURRENT))


def delete(tx: Tx, node: Node) -> None:
    """Delete a node; the database deletes what hangs on it."""
    tx.session.delete(node)
    tx.session.flush()


class AgentPlace(NamedTuple):
    """Where the agent of a node is called, the CAs that it trusts, and digests of the keys that it may show."""

    host: str
    port: int
    trusts: Trust
    keys: list[str]


_PLACE = select(Node.agent_host, Node.agent_port, Node.trusts, Node.agent_keys).where(
    Node.id == bindparam("node_id"), Node.certificate_expires_at.is_not(None)
)


def agent_place(tx: Tx, node_id: str) -> AgentPlace | None:
    """Return how the agent of a node is called; None where it has not enrolled."""
    row = tx.connection.execute(_PLACE, {"node_id": node_id}).one_or_none()
    return None if row is None else AgentPlace(*row)


def agent_keys(tx: Tx, node_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the keys that the agents of nodes may show."""
    query = select(Node.id, Node.agent_keys).where(Node.id.in_(node_ids))
    return {node_id: keys for node_id, keys in tx.session.execute(query)}  # noqa: C416 - rows are no pairs to mypy


def not_told(tx: Tx, revocation: int) -> Sequence[Node]:
    """Return the nodes with an agent that has not said that it refuses what was revoked under that number."""
    behind = or_(Node.revocations.is_(None), Node.revocations < revocation)
    query = select(Node).where(Node.certificate_expires_at.is_not(None), behind)
    return tx.session.scalars(query.order_by(Node.name)).all()


def depart(tx: Tx, row: DepartedNode) -> None:
    """Keep a node that is being deleted, for its agent to hear of it."""
    tx.session.merge(row)
    tx.session.flush()


def departed(tx: Tx) -> list[DepartedNode]:
    """Return the departed nodes, oldest first."""
    return list(tx.session.scalars(select(DepartedNode).order_by(DepartedNode.deleted_at)))


def departed_node(tx: Tx, node_id: str) -> DepartedNode | None:
    """Return a departed node."""
    return tx.session.get(DepartedNode, node_id)


def forget_departed(tx: Tx, node_id: str) -> None:
    """Forget a departed node."""
    tx.session.execute(delete_rows(DepartedNode).where(DepartedNode.id == node_id))
