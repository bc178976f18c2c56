"""Counts of the peers that a filter lets through, and that have already what a change would give them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, exists, func, select

from wgfleet.panel.store import listed_peers
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.listed_peers import PeerFilter
from wgfleet.panel.store.tables import Peer, PeerTag


def with_tag(tx: Tx, wanted: PeerFilter, tag_id: str) -> int:
    """Count those that have a tag."""
    return _count(tx, wanted, exists().where(PeerTag.peer_id == Peer.id, PeerTag.tag_id == tag_id))


def with_values(tx: Tx, wanted: PeerFilter, values: Mapping[str, Any]) -> int:
    """Count those whose columns have all of some values."""
    return _count(tx, wanted, *(getattr(Peer, name).is_not_distinct_from(value) for name, value in values.items()))


def _count(tx: Tx, wanted: PeerFilter, *more: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(Peer).where(*listed_peers.conditions(tx, wanted), *more)
    return int(tx.connection.execute(query).scalar_one())
