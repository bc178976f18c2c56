"""Which assignments are not as wanted."""

from sqlalchemy import String, cast, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Assignment, Config, Node


def listing(tx: Tx) -> list[tuple[Assignment, Config, Node]]:
    """Return assignments with drift, ordered by config and node."""
    query = (
        select(Assignment, Config, Node)
        .join(Config, Config.id == Assignment.config_id)
        .join(Node, Node.id == Assignment.node_id)
        .where(cast(Assignment.drift, String) != "[]")
        .order_by(Config.name, Node.name)
    )
    return [(row, config, node) for row, config, node in tx.session.execute(query)]
