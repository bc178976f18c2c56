"""Rows of peers as answers show them: of columns, by statements made once. Objects would take three times as long."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

from sqlalchemy import Select, Table, bindparam, select

from wgfleet.panel.store.among import among
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Peer, PeerTag


class ShownPeer(NamedTuple):
    """A peer without its secrets: only whether it has them."""

    id: str
    config_id: str
    name: str
    public_key: str
    has_private_key: bool
    has_preshared_key: bool
    networks: list[str]
    keepalive: int | None
    enabled: bool
    home_node_id: str | None
    group_id: str | None
    owner_id: str | None
    created_at: float
    restricted_at: float | None
    restricted_because: str | None
    download_speed: int | None = None
    upload_speed: int | None = None
    rule_set: str | None = None


_peers = cast("Table", Peer.__table__)
_peer_tags = cast("Table", PeerTag.__table__)
_HAS = {"has_private_key": _peers.c.private_key_sealed, "has_preshared_key": _peers.c.preshared_key_sealed}
_MADE_WITH = tuple(name for name in ShownPeer._fields if name not in ShownPeer._field_defaults)
_SHOWN = select(
    *(_HAS[name].is_not(None).label(name) if name in _HAS else _peers.c[name] for name in ShownPeer._fields)
)
_ONE = _SHOWN.where(_peers.c.id == bindparam("id"))
_SOME = _SHOWN.where(among(_peers.c.id, "ids")).order_by(_peers.c.id)


def _page(query: Select[Any]) -> Select[Any]:
    return query.where(_peers.c.id > bindparam("after")).order_by(_peers.c.id).limit(bindparam("most"))


_OF_CONFIG = _page(_SHOWN.where(_peers.c.config_id == bindparam("config_id")))
_OF_ALL = _page(_SHOWN)
_TAGGED = (
    _SHOWN.join(_peer_tags, _peers.c.id == _peer_tags.c.peer_id)
    .where(_peer_tags.c.tag_id == bindparam("tag_id"), _peer_tags.c.peer_id > bindparam("after"))
    .order_by(_peer_tags.c.peer_id)
    .limit(bindparam("most"))
)
_TAGGED_OF_CONFIG = _TAGGED.where(_peers.c.config_id == bindparam("config_id"))


def selection() -> Select[Any]:
    """Return the statement of all peers, for conditions and an order of others."""
    return _SHOWN


def of_columns(columns: Mapping[str, Any]) -> ShownPeer:
    """Return a peer that was just made, by the columns that it was made of; its own held settings are none of them."""
    made: Any = (columns[_HAS[name].name] is not None if name in _HAS else columns[name] for name in _MADE_WITH)
    return ShownPeer(*made)


def get(tx: Tx, peer_id: str) -> ShownPeer | None:
    """Return a peer, or None."""
    row = tx.connection.execute(_ONE, {"id": peer_id}).first()
    return None if row is None else ShownPeer(*row)


def by_ids(tx: Tx, peer_ids: Collection[str]) -> list[ShownPeer]:
    """Return the peers that exist among the ids, by ascending id where there are few."""
    return [
        ShownPeer(*row) for chunk in chunked(peer_ids) for row in tx.connection.execute(_SOME, {"ids": chunk}).all()
    ]


def page(tx: Tx, config_id: str | None, after: str | None, limit: int) -> list[ShownPeer]:
    """Return up to `limit` peers by ascending id, after the id `after`; None: of all configs."""
    values = {"after": after or "", "most": limit}
    if config_id is None:
        return [ShownPeer(*row) for row in tx.connection.execute(_OF_ALL, values).all()]
    return [ShownPeer(*row) for row in tx.connection.execute(_OF_CONFIG, values | {"config_id": config_id}).all()]


def tagged(tx: Tx, tag_id: str, config_id: str | None, after: str | None, limit: int) -> list[ShownPeer]:
    """Return up to `limit` peers with a tag by ascending id, after the id `after`; `config_id` None: of all configs."""
    values = {"tag_id": tag_id, "after": after or "", "most": limit}
    if config_id is None:
        return [ShownPeer(*row) for row in tx.connection.execute(_TAGGED, values).all()]
    rows = tx.connection.execute(_TAGGED_OF_CONFIG, values | {"config_id": config_id}).all()
    return [ShownPeer(*row) for row in rows]
