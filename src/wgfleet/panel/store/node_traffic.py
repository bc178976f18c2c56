"""Rows of what all peers of a config used at a node since it was given the config: one for each, whatever its age."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

from sqlalchemy import Table, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import upsert_many
from wgfleet.panel.store.tables import Config, Node, NodeTraffic


class Traffic(NamedTuple):
    """Bytes as a node sees them, by the names of its config and of itself."""

    config: str
    node: str
    received: int
    sent: int


def add(tx: Tx, used: Iterable[tuple[str, str, int, int]]) -> None:
    """Add (config id, node id, received, sent); there may be several of one config and node."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for config_id, node_id, received, sent in used:
        so_far = found.get((config_id, node_id), (0, 0))
        found[config_id, node_id] = (so_far[0] + received, so_far[1] + sent)
    rows = [(*where, *value) for where, value in sorted(found.items())]
    more = {name: f"node_traffic.{name} + excluded.{name}" for name in ("received", "sent")}
    table = cast("Table", NodeTraffic.__table__)
    upsert_many(tx, table, ("config_id", "node_id", "received", "sent"), rows, ("config_id", "node_id"), more)


def everywhere(tx: Tx) -> Sequence[Traffic]:
    """Return that of all configs and nodes."""
    query = (
        select(Config.name, Node.name, NodeTraffic.received, NodeTraffic.sent)
        .join_from(NodeTraffic, Config, Config.id == NodeTraffic.config_id)
        .join(Node, Node.id == NodeTraffic.node_id)
    )
    return [Traffic(*row) for row in tx.session.execute(query)]
