"""Counts of homes: how many peers live on each node, and each config has.

A count of 100,000 peers takes 9 ms and more, for each list of nodes, each new peer and each call of an agent, so
triggers keep them (revisions 0028, 0071). SQLite has one writer, and one number for each config and node.
Writers of PostgreSQL would wait for each other's numbers, maybe in a circle: each adds rows with what it changed, and
`sum_up` puts one in their place now and then.
"""

from collections.abc import Collection

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    MetaData,
    Select,
    String,
    Table,
    bindparam,
    func,
    select,
    text,
)

from wgfleet.panel.store.among import among
from wgfleet.panel.store.engine import Store, Tx
from wgfleet.panel.store.failures import translated
from wgfleet.panel.store.tables import Assignment

_kept = Table(
    "peer_homes",
    MetaData(),
    Column("node_id", String),
    Column("config_id", String),
    Column("peers", BigInteger),
)
_SUM = func.sum(_kept.c.peers).cast(BigInteger)


def _sums(of: ColumnElement[str], where: ColumnElement[bool]) -> Select[str, int]:
    return select(of, _SUM).where(where).group_by(of).having(_SUM > 0)


_OF_NODES = _sums(_kept.c.node_id, among(_kept.c.node_id, "nodes"))
_OF_CONFIGS = _sums(_kept.c.config_id, among(_kept.c.config_id, "configs"))
_IN_CONFIG = _sums(_kept.c.node_id, _kept.c.config_id == bindparam("config"))
_CARRIED = select(_SUM).where(
    _kept.c.config_id.in_(select(Assignment.config_id).where(Assignment.node_id == bindparam("node")))
)
_ALL = select(_SUM)
_SUM_UP = text(
    """
    WITH taken AS (
      DELETE FROM peer_homes WHERE (node_id, config_id) IN (
        SELECT node_id, config_id FROM peer_homes GROUP BY node_id, config_id HAVING count(*) > 1 OR sum(peers) = 0
      ) RETURNING node_id, config_id, peers
    )
    INSERT INTO peer_homes (node_id, config_id, peers)
      SELECT node_id, config_id, sum(peers) FROM taken GROUP BY node_id, config_id HAVING sum(peers) <> 0
    """
)


def of_nodes(tx: Tx, node_ids: Collection[str]) -> dict[str, int]:
    """Return how many peers have their home on each node; nodes without one are left out."""
    return dict(tx.connection.execute(_OF_NODES, {"nodes": list(node_ids)}).all())


def of_configs(tx: Tx, config_ids: Collection[str]) -> dict[str, int]:
    """Return how many peers each config has, with a home or without; configs without one are left out."""
    return dict(tx.connection.execute(_OF_CONFIGS, {"configs": list(config_ids)}).all())


def in_config(tx: Tx, config_id: str) -> dict[str, int]:
    """Return how many peers of a config have their home on each node."""
    found = dict(tx.connection.execute(_IN_CONFIG, {"config": config_id}).all())
    return {node_id: count for node_id, count in found.items() if node_id}


def carried(tx: Tx, node_id: str) -> int:
    """Return how many peers the configs of a node have together."""
    return tx.connection.scalar(_CARRIED, {"node": node_id}) or 0


def of_all(tx: Tx) -> int:
    """Return how many peers there are."""
    return tx.connection.scalar(_ALL) or 0


def sum_up(store: Store) -> None:
    """Put one row in the place of those that writers of PostgreSQL have added for a config and a node.

    What others add meanwhile it does not see, and leaves; two of them at once take each row once.
    """
    if store.engine.dialect.name != "postgresql":
        return
    with translated(), store.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(_SUM_UP)
