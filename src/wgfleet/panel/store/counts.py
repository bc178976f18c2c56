"""Counts of rows, for metrics."""

from typing import Any

from sqlalchemy import func, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Assignment, Config, FloatingAddress, Node, Operation


def check(tx: Tx) -> None:
    """Do the least that needs the database."""
    tx.session.execute(select(1))


def _count(tx: Tx, table: type[Any], *where: Any) -> int:
    return tx.session.scalar(select(func.count()).select_from(table).where(*where)) or 0


def nodes(tx: Tx) -> int:
    """Return how many nodes there are, without witnesses."""
    return _count(tx, Node, Node.witness.is_(False))


def connected_nodes(tx: Tx) -> int:
    """Return how many nodes have a connected agent, without witnesses."""
    return _count(tx, Node, Node.connected.is_(True), Node.witness.is_(False))


def witnesses(tx: Tx) -> int:
    """Return how many witnesses there are."""
    return _count(tx, Node, Node.witness)


def connected_witnesses(tx: Tx) -> int:
    """Return how many witnesses have a connected agent."""
    return _count(tx, Node, Node.connected, Node.witness)


def configs(tx: Tx) -> int:
    """Return how many configs there are."""
    return _count(tx, Config)


def paused(tx: Tx) -> int:
    """Return for how many configs nothing is done without a person."""
    return _count(tx, Config, Config.paused_since.is_not(None))


def health(tx: Tx) -> dict[str, int]:
    """Return how many assignments there are in each state of health."""
    query = select(Assignment.health, func.count()).group_by(Assignment.health)
    return dict(tx.session.execute(query).all())


def active_operations(tx: Tx) -> int:
    """Return how many operations have not ended."""
    return _count(tx, Operation, Operation.finished_at.is_(None))


def unheld_addresses(tx: Tx) -> int:
    """Return how many floating addresses are wanted and belong to no node."""
    return _count(tx, FloatingAddress, FloatingAddress.withdrawn.is_(False), FloatingAddress.holder_node_id.is_(None))


def failing_addresses(tx: Tx) -> int:
    """Return how many floating addresses their provider does not bring to their holder."""
    return _count(tx, FloatingAddress, FloatingAddress.error.is_not(None))


def agents(tx: Tx) -> dict[str, int]:
    """Return how many nodes have an agent of each version."""
    query = select(Node.agent_version, func.count()).where(Node.agent_version.is_not(None)).group_by(Node.agent_version)
    return {version or "": count for version, count in tx.session.execute(query)}


def clocks(tx: Tx) -> dict[str, float]:
    """Return how far the clocks of nodes, by name, are ahead of the panel's."""
    rows = tx.session.execute(select(Node.name, Node.clock_ahead_s).where(Node.clock_ahead_s.is_not(None)))
    return {name: ahead_s for name, ahead_s in rows if ahead_s is not None}
