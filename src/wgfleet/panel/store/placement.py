"""The nodes that serve a config, as placement asks for them: in one statement, since others wait while it does."""

from typing import NamedTuple, cast

from sqlalchemy import Table, bindparam, select

from wgfleet.panel.domain.forwarding import ForwardingFound
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Assignment, Node, NodeGroup, NodeLoad


class ServingNode(NamedTuple):
    """A node with priority and region of its group, and what its agent said last: of how busy it is, of forwarding."""

    health: Health
    id: str
    group_id: str | None
    weight: float
    capacity: int | None
    cordoned: bool
    priority: int | None
    region: str | None
    cpu: float | None
    memory: float | None
    bandwidth: float | None
    said_at: float | None
    forwarding: list[ForwardingFound]


_assignments, _nodes = cast("Table", Assignment.__table__), cast("Table", Node.__table__)
_groups, _loads = cast("Table", NodeGroup.__table__), cast("Table", NodeLoad.__table__)
_a, _n, _g, _l = _assignments.c, _nodes.c, _groups.c, _loads.c
_SERVING = (
    select(
        _a.health, _n.id, _n.group_id, _n.weight, _n.capacity, _n.cordoned, _g.priority, _g.region,
        _l.cpu, _l.memory, _l.bandwidth, _l.at, _a.forwarding,
    )
    .select_from(
        _assignments.join(_nodes, _n.id == _a.node_id)
        .outerjoin(_groups, _g.id == _n.group_id)
        .outerjoin(_loads, _l.node_id == _n.id)
    )
    .where(_a.config_id == bindparam("config_id"), _a.phase == Phase.SERVING)
    .order_by(_a.id)
)  # fmt: skip


def serving_nodes(tx: Tx, config_id: str) -> list[ServingNode]:
    """Return the nodes that serve a config, in whatever health, in the order in which it was assigned to them."""
    tx.settle()
    return [ServingNode._make(row) for row in tx.connection.execute(_SERVING, {"config_id": config_id}).all()]
