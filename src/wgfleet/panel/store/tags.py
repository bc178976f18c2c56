"""Rows of tags, and of the peers that have them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, bindparam, delete, func, or_, select, update

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.store.among import among
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import insert_many, set_many
from wgfleet.panel.store.tables import Peer, PeerTag, Tag

_peer_tags = cast("Table", PeerTag.__table__)
_peers = cast("Table", Peer.__table__)
_NAMES = (
    select(PeerTag.peer_id, Tag.name)
    .join(Tag, Tag.id == PeerTag.tag_id)
    .where(among(PeerTag.peer_id, "ids"))
    .order_by(Tag.name)
)
_IDS = select(PeerTag.peer_id, PeerTag.tag_id).where(among(PeerTag.peer_id, "ids"))
_TAG = select(Tag).where(or_(Tag.id == bindparam("reference"), Tag.name == bindparam("reference")))
_OF_PEER = (
    select(Tag)
    .join(PeerTag, PeerTag.tag_id == Tag.id)
    .where(PeerTag.peer_id == bindparam("peer_id"))
    .order_by(Tag.name)
)


def add(tx: Tx, tag: Tag) -> None:
    """Add a tag."""
    tx.session.add(tag)
    tx.session.flush()


def find(tx: Tx, reference: str) -> Tag | None:
    """Return the tag of that id or name."""
    return tx.session.scalar(_TAG, {"reference": reference})


def all_names(tx: Tx) -> dict[str, str]:
    """Return the names of all tags, by id."""
    return {row.id: row.name for row in tx.connection.execute(select(Tag.id, Tag.name))}


def hold(tx: Tx, tag_ids: Collection[str], *, alone: bool) -> list[Tag]:
    """Keep tags from being changed, or (`alone`) from being given to anybody too; return them as they are now."""
    tx.settle()
    query = select(Tag).where(Tag.id.in_(tag_ids)).order_by(Tag.id).with_for_update(read=not alone)
    return list(tx.session.scalars(query.execution_options(populate_existing=True)))


def _in_configs(config_ids: Collection[str]) -> ColumnElement[bool]:
    """Return what is true of a tag that a peer of some configs has."""
    query = select(PeerTag.peer_id).join(Peer, Peer.id == PeerTag.peer_id)
    return query.where(PeerTag.tag_id == Tag.id, Peer.config_id.in_(config_ids)).exists()


def is_in_configs(tx: Tx, tag_id: str, config_ids: Collection[str]) -> bool:
    """Say whether a peer of some configs has a tag."""
    return tx.session.scalar(select(Tag.id).where(Tag.id == tag_id, _in_configs(config_ids))) is not None


def page(tx: Tx, after: str | None, limit: int, within: Limit | None = None) -> Sequence[Tag]:
    """Return tags in the order they were made, after the id `after`; `within`: those of the peers of a limit."""
    query = select(Tag).order_by(Tag.id).limit(limit)
    if within is not None:
        query = query.where(_in_configs(within.configs))
    return tx.session.scalars(query.where(Tag.id > after) if after else query).all()


def delete_tag(tx: Tx, tag: Tag) -> None:
    """Delete a tag; it leaves its peers."""
    tx.session.delete(tag)
    tx.session.flush()


def counts(tx: Tx, tag_ids: Collection[str], within: Limit | None = None) -> dict[str, int]:
    """Return how many peers (`within` a limit) each tag has; those without any are left out."""
    query = select(PeerTag.tag_id, func.count()).where(PeerTag.tag_id.in_(tag_ids)).group_by(PeerTag.tag_id)
    if within is not None:
        query = query.join(Peer, Peer.id == PeerTag.peer_id).where(Peer.config_id.in_(within.configs))
    return {row[0]: row[1] for row in tx.session.execute(query)} if tag_ids else {}


def of_peer(tx: Tx, peer_id: str) -> Sequence[Tag]:
    """Return a peer's tags by name."""
    return tx.session.scalars(_OF_PEER, {"peer_id": peer_id}).all()


def of_peers(tx: Tx, peer_ids: Collection[str]) -> dict[str, list[Tag]]:
    """Return each peer's tags by name; peers without any are left out."""
    pairs: list[tuple[str, str]] = []
    for chunk in chunked(peer_ids):
        pairs += tx.connection.execute(_IDS, {"ids": chunk}).all()
    wanted = select(Tag).where(Tag.id.in_({tag_id for _, tag_id in pairs})).order_by(Tag.name)
    places = {tag.id: (place, tag) for place, tag in enumerate(tx.session.scalars(wanted) if pairs else ())}
    found: dict[str, list[Tag]] = {}
    for peer_id, (_, tag) in sorted(((each, places[tag]) for each, tag in pairs), key=lambda each: each[1][0]):
        found.setdefault(peer_id, []).append(tag)
    return found


def names_of(tx: Tx, peer_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the names of each peer's tags, sorted; peers without any are left out."""
    found: dict[str, list[str]] = {}
    for chunk in chunked(peer_ids):
        for peer_id, name in tx.connection.execute(_NAMES, {"ids": chunk}):
            found.setdefault(peer_id, []).append(name)
    return found


def having(tx: Tx, tag_id: str, peer_ids: Collection[str]) -> set[str]:
    """Return the ids of those of some peers that have a tag."""
    has: set[str] = set()
    for chunk in chunked(peer_ids):
        query = select(PeerTag.peer_id).where(PeerTag.tag_id == tag_id, PeerTag.peer_id.in_(chunk))
        has |= set(tx.session.scalars(query))
    return has


def give(tx: Tx, tag_id: str, peer_ids: Sequence[str]) -> int:
    """Give peers a tag; return how many did not have it."""
    has = having(tx, tag_id, peer_ids)
    new = [peer_id for peer_id in dict.fromkeys(peer_ids) if peer_id not in has]
    insert_many(tx, _peer_tags, ("tag_id", "peer_id"), [(tag_id, peer_id) for peer_id in new])
    return len(new)


def take(tx: Tx, tag_id: str, peer_ids: Collection[str]) -> None:
    """Take a tag from peers."""
    for chunk in chunked(peer_ids):
        gone = delete(PeerTag).where(PeerTag.tag_id == tag_id, PeerTag.peer_id.in_(chunk))
        tx.session.execute(gone.execution_options(synchronize_session=False))


def set_columns(tx: Tx, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Set columns of peers by id, each peer its own ones."""
    tx.settle()
    notes = {peer_id: columns["notes"] for peer_id, columns in values.items() if "notes" in columns}
    set_many(tx, _peers, "notes", notes)  # of most that are imported, and nothing else
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for peer_id, columns in values.items():
        if names := tuple(sorted(columns.keys() - {"notes"})):
            alike.setdefault(names, []).append({"peer": peer_id, **columns})
    for names, rows in alike.items():
        query = update(_peers).where(_peers.c.id == bindparam("peer"))
        tx.connection.execute(query.values({name: bindparam(name) for name in names}), rows)
