"""Rows of assignments and of the interfaces that nodes still have to delete."""

from collections.abc import Collection, Sequence
from itertools import count
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Select, String, bindparam, cast, delete, func, or_, select, union_all, update

from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.store.among import among
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Assignment, Cleanup, Config, EntrustedNode, Node, Pool

# Statements made once: each cycle of a node asks for these, and to build one costs more than to run it.
_CONFIG: BindParameter[str] = bindparam("config_id")
_NODE: BindParameter[str] = bindparam("node_id")
_MEMBER = select(Assignment).where(Assignment.config_id == _CONFIG, Assignment.node_id == _NODE)
_OF_NODE = select(Assignment, Config).join(Config, Config.id == Assignment.config_id).where(Assignment.node_id == _NODE)
_OF_CONFIG = (
    select(Assignment, Node)
    .join(Node, Node.id == Assignment.node_id)
    .where(Assignment.config_id == _CONFIG)
    .order_by(Assignment.id)
)
_CLEANUPS = select(Cleanup).where(Cleanup.node_id == _NODE)
_NODES_OF = union_all(
    *(
        select(table.config_id, table.node_id).where(among(table.config_id, "config_ids"))
        for table in (Assignment, Cleanup)
    )
)
_CARRIED = select(Assignment.node_id, Assignment.config_id).where(among(Assignment.node_id, "node_ids"))


def get(tx: Tx, config_id: str, node_id: str) -> Assignment | None:
    """Return the assignment of a config to a node, or None."""
    return tx.session.scalar(_MEMBER, {"config_id": config_id, "node_id": node_id})


def carried(tx: Tx, node_ids: Collection[str]) -> set[tuple[str, str]]:
    """Return which configs nodes carry, as (node id, config id)."""
    tx.settle()
    rows = tx.connection.execute(_CARRIED, {"node_ids": list(node_ids)})
    return {(node_id, config_id) for node_id, config_id in rows}


def carriers(tx: Tx) -> list[tuple[str, str]]:
    """Return (node id, config's name) of nodes whose NAT has connections that die with them: there are others.

    Those with a backbone tell each other.
    """
    serving = select(Assignment.config_id).where(Assignment.phase == Phase.SERVING)
    several = serving.group_by(Assignment.config_id).having(func.count() > 1)
    query = (
        select(Assignment.node_id, Config.name)
        .join(Config, Config.id == Assignment.config_id)
        .where(Assignment.phase == Phase.SERVING, Assignment.config_id.in_(several))
        .where(Config.enabled, Config.masquerade, Config.backbone.is_(False), Config.mode == "cluster")
        .order_by(Config.name, Assignment.node_id)
    )
    return [(node_id, name) for node_id, name in tx.session.execute(query)]


def by_id(tx: Tx, assignment_id: str) -> Assignment | None:
    """Return an assignment by its id."""
    return tx.session.get(Assignment, assignment_id)


def add(tx: Tx, assignment: Assignment) -> None:
    """Insert an assignment."""
    tx.session.add(assignment)
    tx.session.flush()


def free_number(tx: Tx) -> int:
    """Return the first number that no assignment has; one transaction at a time may ask, see `serialize_creation`."""
    taken = set(tx.session.scalars(select(Assignment.number)))
    return next(number for number in count(1) if number not in taken)


def entrusted(tx: Tx, config_id: str, node_id: str) -> bool:
    """Tell whether a node was ever given the keys of a config."""
    return tx.session.get(EntrustedNode, (config_id, node_id)) is not None


def entrusted_nodes(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes that were ever given the keys of a config."""
    return set(tx.session.scalars(select(EntrustedNode.node_id).where(EntrustedNode.config_id == config_id)))


def entrust(tx: Tx, config_id: str, node_id: str) -> None:
    """Note that a node is given the keys of a config."""
    if not entrusted(tx, config_id, node_id):
        tx.session.add(EntrustedNode(config_id=config_id, node_id=node_id))
        tx.session.flush()


def add_pool(tx: Tx, pool: Pool) -> None:
    """Insert a slice of a pool."""
    tx.session.add(pool)
    tx.session.flush()


def pools(tx: Tx, config_id: str, assignment_id: str | None = None) -> list[Pool]:
    """Return the pools of a config itself, or the slices of one of its assignments; IPv4 first."""
    about = {"config_id": config_id, "assignment_id": assignment_id} if assignment_id else {"config_id": config_id}
    found = tx.session.scalars(_OF_ASSIGNMENT if assignment_id else _POOLS, about)
    return sorted(found, key=lambda pool: (":" in pool.network, pool.id))


def slices(tx: Tx, config_id: str) -> list[Pool]:
    """Return the slices of all assignments of an independent config."""
    return list(tx.session.scalars(_SLICES, {"config_id": config_id}))


def of_config(tx: Tx, config_id: str) -> list[tuple[Assignment, Node]]:
    """Return a config's assignments with their nodes, oldest first."""
    found = tx.session.execute(_OF_CONFIG, {"config_id": config_id})
    return [(assignment, node) for assignment, node in found]


def standings(tx: Tx, config_ids: Collection[str]) -> list[tuple[str, Phase, Health, int]]:
    """Count the assignments of some configs: (config id, phase, health, how many)."""
    of = Assignment.config_id, Assignment.phase, Assignment.health
    query = select(*of, func.count()).where(Assignment.config_id.in_(config_ids)).group_by(*of)
    return [(config_id, phase, state, number) for config_id, phase, state, number in tx.session.execute(query)]


def by_group(tx: Tx, config_ids: Collection[str]) -> list[tuple[str, bool, int]]:
    """Count the nodes of some configs by node group: (config id, whether links stay within groups, how many)."""
    of = Config.id, Config.backbone_within_groups
    query = select(*of, func.count()).join(Assignment, Assignment.config_id == Config.id)
    query = query.join(Node, Node.id == Assignment.node_id).where(Config.id.in_(config_ids))
    found = tx.session.execute(query.group_by(*of, Node.group_id))
    return [(config_id, within_groups, number) for config_id, within_groups, number in found]


def _pools(*, slices: bool) -> Select[Pool]:
    own = Pool.assignment_id.is_not(None) if slices else Pool.assignment_id.is_(None)
    return select(Pool).where(Pool.config_id == bindparam("config_id"), own).order_by(Pool.id)


_POOLS, _SLICES = _pools(slices=False), _pools(slices=True)
_OF_ASSIGNMENT = select(Pool).where(
    Pool.config_id == bindparam("config_id"), Pool.assignment_id == bindparam("assignment_id")
)


def of_configs(tx: Tx, config_ids: Sequence[str]) -> list[Assignment]:
    """Return the assignments of some configs, oldest first; for who has the nodes already."""
    query = select(Assignment).where(Assignment.config_id.in_(config_ids)).order_by(Assignment.id)
    return list(tx.session.scalars(query))


def with_nodes(tx: Tx, config_ids: Sequence[str]) -> list[tuple[Assignment, Node]]:
    """Return the assignments of some configs with their nodes, oldest first."""
    query = select(Assignment, Node).join(Node, Node.id == Assignment.node_id)
    found = query.where(Assignment.config_id.in_(config_ids)).order_by(Assignment.id)
    return [(assignment, node) for assignment, node in tx.session.execute(found)]


def of_node(tx: Tx, node_id: str) -> list[tuple[Assignment, Config]]:
    """Return a node's assignments with their configs."""
    return [(assignment, config) for assignment, config in tx.session.execute(_OF_NODE, {"node_id": node_id})]


def nodes_of(tx: Tx, config_ids: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return the nodes of each config, those that still owe a cleanup among them."""
    tx.settle()
    found: dict[str, set[str]] = {config_id: set() for config_id in config_ids}
    for config_id, node_id in tx.connection.execute(_NODES_OF, {"config_ids": list(config_ids)}):
        found[config_id].add(node_id)
    return {config_id: frozenset(nodes) for config_id, nodes in found.items()}


def applied(tx: Tx, assignment_id: str, **values: Any) -> None:
    """Write down what the agent confirmed."""
    tx.session.execute(update(Assignment).where(Assignment.id == assignment_id).values(**values))


class AppliedPeers(NamedTuple):
    """A generation that only peers changed for, as a node's agent confirmed it."""

    config_id: str
    node_id: str
    generation: int
    at: float
    summary: str


_APPLIED = (
    update(Assignment)
    .where(
        Assignment.config_id == bindparam("of_config"),
        Assignment.node_id == bindparam("on_node"),
        Assignment.applied_generation < bindparam("confirmed"),
        or_(Assignment.phase == Phase.SERVING, Assignment.phase == Phase.DRAINING),
    )
    .values(applied_generation=bindparam("confirmed"), applied_at=bindparam("at"), summary=bindparam("said"))
)


def applied_peers(tx: Tx, rows: Sequence[AppliedPeers]) -> None:
    """Write down what agents confirmed, where nothing newer is written and the node has not begun to leave or join."""
    # In one order everywhere, so that no two such transactions wait for each other's rows.
    values = [
        {
            "of_config": row.config_id,
            "on_node": row.node_id,
            "confirmed": row.generation,
            "at": row.at,
            "said": row.summary,
        }
        for row in sorted(rows)
    ]
    if values:
        tx.session.connection().execute(_APPLIED, values)


def behind(tx: Tx, config_id: str | None = None) -> list[tuple[Assignment, Config, Node]]:
    """Return the assignments that have not the present generation of their config, or were noted as such."""
    query = (
        select(Assignment, Config, Node)
        .join(Config, Config.id == Assignment.config_id)
        .join(Node, Node.id == Assignment.node_id)
        .where(or_(Assignment.applied_generation < Config.generation, Assignment.behind_since.is_not(None)))
        .order_by(Config.name, Node.name)
    )
    if config_id is not None:
        query = query.where(Assignment.config_id == config_id)
    return [(row, config, node) for row, config, node in tx.session.execute(query)]


def owing_cleanups(tx: Tx, config_id: str | None = None) -> list[tuple[Cleanup, Config, Node]]:
    """Return what nodes still have to delete of configs that exist."""
    query = (
        select(Cleanup, Config, Node)
        .join(Config, Config.id == Cleanup.config_id)
        .join(Node, Node.id == Cleanup.node_id)
        .order_by(Config.name, Node.name)
    )
    if config_id is not None:
        query = query.where(Cleanup.config_id == config_id)
    return [(row, config, node) for row, config, node in tx.session.execute(query)]


def remove(tx: Tx, assignment_id: str) -> None:
    """Delete an assignment."""
    tx.session.execute(delete(Assignment).where(Assignment.id == assignment_id))


def cleanups(tx: Tx, node_id: str) -> list[Cleanup]:
    """Return what a node still has to delete."""
    return list(tx.session.scalars(_CLEANUPS, {"node_id": node_id}))


def cleanup(tx: Tx, node_id: str, config_id: str) -> Cleanup | None:
    """Return what a node still has to delete of a config, or None."""
    return tx.session.scalar(select(Cleanup).where(Cleanup.node_id == node_id, Cleanup.config_id == config_id))


def owe(tx: Tx, row: Cleanup) -> None:
    """Write down that a node has to delete an interface."""
    tx.session.add(row)
    tx.session.flush()


def delete_cleanup(tx: Tx, node_id: str, config_id: str) -> None:
    """Strike out what a node had to delete of a config."""
    tx.session.execute(delete(Cleanup).where(Cleanup.node_id == node_id, Cleanup.config_id == config_id))


def drifted(
    tx: Tx, after: str | None, limit: int, within: Limit | None = None
) -> list[tuple[Assignment, Config, Node]]:
    """Return assignments with drift in the order of creation, starting after the id `after`."""
    query = (
        select(Assignment, Config, Node)
        .join(Config, Config.id == Assignment.config_id)
        .join(Node, Node.id == Assignment.node_id)
        .where(cast(Assignment.drift, String) != "[]", Assignment.id > (after or ""))
        .order_by(Assignment.id)
        .limit(limit)
    )
    if within is not None:
        query = query.where(Assignment.config_id.in_(within.configs) | Node.group_id.in_(within.groups))
    return [(row, config, node) for row, config, node in tx.session.execute(query)]
