"""Rows of peers as lists show them: filtered, in one of several orders, from a place on.

For the order of traffic or of handshakes all peers that fit are looked at: 53 and 75 ms of 100,000 (SQLite).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from wgfleet.panel.domain.look_alikes import folded
from wgfleet.panel.store import peer_search, shown_peers
from wgfleet.panel.store.among import among
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.new_files import OLD
from wgfleet.panel.store.peer_search import LOOKED_AT, THREE, Found
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import Config, Peer, PeerSession, PeerTag, UsageTotal


class PeerOrder(StrEnum):
    """In which order peers are listed."""

    MADE = "made"
    NAME = "name"
    TRAFFIC = "traffic"  # all that it used, least first
    HANDSHAKE = "handshake"  # those first that were never seen, then by the latest of all nodes


@dataclass(frozen=True, slots=True)
class PeerFilter:
    """Which peers are listed: what is None filters nothing. `live_since`: `live` are those with a handshake since.

    `part`: of the name, folded; or a whole key, or a whole address. `ids`: of these alone, up to a thousand.
    """

    config_ids: Collection[str] | None = None
    node_id: str | None = None
    owner_id: str | None = None
    enabled: bool | None = None
    live: bool | None = None
    live_since: float = 0.0
    restricted: bool | None = None
    needs_new_file: bool | None = None
    tag_id: str | None = None
    part: str | None = None
    ids: Collection[str] | None = None


class CountedPeers(NamedTuple):
    """How many peers a filter lets through, how many of them are enabled, and how many connected."""

    peers: int
    enabled: int
    live: int


_used = select(UsageTotal.bytes).where(UsageTotal.peer_id == Peer.id).scalar_subquery()
_shaken = select(func.max(PeerSession.latest_handshake)).where(PeerSession.peer_id == Peer.id).scalar_subquery()
_FIRST: dict[PeerOrder, tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...]] = {
    PeerOrder.NAME: (Peer.name_folded,),
    PeerOrder.TRAFFIC: (func.coalesce(_used, 0),),
    PeerOrder.HANDSHAKE: (func.coalesce(_shaken, 0),),
}
"""What peers are ordered by before their ids."""
Place = tuple[Any, ...]
"""What a peer is ordered by, and its id."""


class Listed(NamedTuple):
    """A peer, and what it is ordered by: its values at the time, and its id."""

    peer: ShownPeer
    place: Place


def page(
    tx: Tx, wanted: PeerFilter, order: PeerOrder, after: Place | None, limit: int, *, backwards: bool = False
) -> list[Listed]:
    """Return up to `limit` peers after a place in an order, or against it, whether or not a peer is there by now."""
    columns = [*_FIRST.get(order, ()), Peer.id]
    query = shown_peers.selection().add_columns(*columns).where(*conditions(tx, wanted))
    if after is not None:
        query = query.where(_beyond(columns, after, backwards=backwards))
    query = query.order_by(*(column.desc() if backwards else column for column in columns)).limit(limit)
    own = len(ShownPeer._fields)
    return [Listed(ShownPeer(*row[:own]), tuple(row[own:])) for row in tx.connection.execute(query).all()]


def search(tx: Tx, wanted: PeerFilter, part: str, after: str | None, limit: int) -> Found:
    """Return up to `limit` peers with a part in their names, or that public key, which a filter lets through.

    In the order of creation, after the id `after`. Of a part that no index helps with, `LOOKED_AT` peers are looked at.
    """
    text = folded(part)
    has = or_(_position(tx)(Peer.name_folded, text) > 0, Peer.public_key == part)
    query = select(Peer.id).where(Peer.id > (after or ""), has, *conditions(tx, wanted)).order_by(Peer.id)
    few = peer_search.by_index(tx, text) if len(text) >= THREE else None
    given: dict[str, list[str]] = {}
    last = None
    if few is None:
        last = tx.connection.scalar(_reach(wanted).where(Peer.id > (after or "")))
        query = query if last is None else query.where(Peer.id <= last)
    else:
        # By config, as the index is: there is none of keys alone.
        keyed = select(Peer.id).where(Peer.config_id.in_(select(Config.id)), Peer.public_key == part)
        query = query.where(among(Peer.id, "ids"))
        given = {"ids": [*few, *tx.connection.scalars(keyed)]}
    ids = list(tx.connection.scalars(query.limit(limit + 1), given))
    more = len(ids) > limit
    shown = sorted(shown_peers.by_ids(tx, ids[:limit]), key=lambda peer: peer.id)
    return Found(shown, ids[limit - 1] if more else last)


def of_some(tx: Tx, wanted: PeerFilter, ids: Collection[str]) -> list[ShownPeer]:
    """Return those of some peers that a filter lets through, in the order of creation."""
    query = shown_peers.selection().where(among(Peer.id, "ids"), *conditions(tx, wanted)).order_by(Peer.id)
    return [ShownPeer(*row) for row in tx.connection.execute(query, {"ids": ids}).all()]


def _reach(wanted: PeerFilter) -> Select[str]:
    """Return the statement of the last of the next `LOOKED_AT` peers: of the configs alone, not of all that fits."""
    mine = [] if wanted.config_ids is None else [Peer.config_id.in_(wanted.config_ids)]
    return select(Peer.id).where(*mine).order_by(Peer.id).offset(LOOKED_AT - 1).limit(1)


def _position(tx: Tx) -> Callable[..., ColumnElement[int]]:
    return func.instr if tx.connection.dialect.name == "sqlite" else func.strpos


def count(tx: Tx, wanted: PeerFilter) -> CountedPeers:
    """Count the peers that a filter lets through."""
    live = exists().where(PeerSession.peer_id == Peer.id, PeerSession.latest_handshake >= wanted.live_since)
    numbers = (func.count(), func.sum(case((Peer.enabled, 1), else_=0)), func.sum(case((live, 1), else_=0)))
    row = tx.connection.execute(select(*numbers).select_from(Peer).where(*conditions(tx, wanted))).one()
    return CountedPeers(*(int(each or 0) for each in row))


def ids(tx: Tx, wanted: PeerFilter, after: str | None = None, limit: int | None = None) -> list[str]:
    """Return the ids of all peers that a filter lets through; or of `limit` of them, after the one with an id."""
    query = select(Peer.id).where(*conditions(tx, wanted)).order_by(Peer.id).limit(limit)
    return list(tx.connection.scalars(query if after is None else query.where(Peer.id > after)))


def extent(tx: Tx, wanted: PeerFilter) -> tuple[int, str]:
    """Return how many peers a filter lets through, and the last of their ids; empty where it lets none through."""
    row = tx.connection.execute(select(func.count(), func.max(Peer.id)).where(*conditions(tx, wanted))).one()
    return int(row[0]), row[1] or ""


def names(tx: Tx, wanted: PeerFilter, limit: int) -> list[str]:
    """Return the names of the first peers that a filter lets through, by name."""
    query = select(Peer.name).where(*conditions(tx, wanted)).order_by(Peer.name_folded, Peer.id).limit(limit)
    return list(tx.session.scalars(query))


def _beyond(columns: Sequence[Any], place: Sequence[Any], *, backwards: bool) -> ColumnElement[bool]:
    """Compare column by column: not every database compares rows by an index."""

    def past(column: ColumnElement[Any], value: object) -> ColumnElement[bool]:
        return (column < value) if backwards else (column > value)

    first, *others = zip(columns, place, strict=True)
    if not others:
        return past(*first)
    second = others[0]
    column, value = first
    bound = column <= value if backwards else column >= value
    return and_(bound, or_(past(*first), past(*second)))


def conditions(tx: Tx, wanted: PeerFilter) -> list[ColumnElement[bool]]:
    """Return what peers fulfil that a filter lets through."""
    found: list[ColumnElement[bool]] = []
    if wanted.ids is not None:
        found.append(Peer.id.in_(wanted.ids))
    if wanted.config_ids is not None:
        found.append(Peer.config_id.in_(wanted.config_ids))
    if wanted.node_id is not None:
        found.append(Peer.home_node_id == wanted.node_id)
    if wanted.owner_id is not None:
        found.append(Peer.owner_id == wanted.owner_id)
    found += _marked(wanted)
    if wanted.live is not None:
        has = exists().where(PeerSession.peer_id == Peer.id, PeerSession.latest_handshake >= wanted.live_since)
        found.append(has if wanted.live else ~has)
    if wanted.tag_id is not None:
        found.append(Peer.id.in_(select(PeerTag.peer_id).where(PeerTag.tag_id == wanted.tag_id)))
    if wanted.part is not None:
        has_part = _position(tx)(Peer.name_folded, folded(wanted.part)) > 0
        found.append(or_(has_part, Peer.public_key == wanted.part, Peer.id.in_(peer_search.holders(tx, wanted.part))))
    return found


def _marked(wanted: PeerFilter) -> list[ColumnElement[bool]]:
    """Return what is written down of the peers themselves, and of nobody else."""
    found: list[ColumnElement[bool]] = []
    if wanted.enabled is not None:
        found.append(Peer.enabled.is_(wanted.enabled))
    if wanted.restricted is not None:
        found.append(Peer.restricted_at.is_not(None) if wanted.restricted else Peer.restricted_at.is_(None))
    if wanted.needs_new_file is not None:
        found.append(Peer.old_file == OLD if wanted.needs_new_file else Peer.old_file.is_(None))
    return found
