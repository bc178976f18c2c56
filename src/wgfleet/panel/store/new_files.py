"""Marks of peers whose files are out of date: taken from here, and something that they say was changed since.

A file that is sent among many counts as taken when all are sent: until then the peer has the mark of the sending, which
goes where something of the file is changed.
"""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, String, case, cast, or_, select, update

from wgfleet.panel.domain.client_settings import SETTINGS
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Config, Move, Node, Peer, PeerNodes, PeerTag, Tag

OLD = 1
"""What a peer with such a file has in `old_file`: a value, as an index has places by it and not by its absence."""


def taken(tx: Tx, peer_ids: Collection[str], now: float) -> None:
    """Note that the files of peers are taken, as they are now."""
    for ids in chunked(sorted(peer_ids)):
        _set(tx, {"file_taken_at": now, "old_file": None}, Peer.id.in_(ids))


def set_out(tx: Tx, peer_ids: Collection[str], sending: str) -> None:
    """Note that the files of peers, as they are after this, are on their way. `sending`: a new id."""
    for ids in chunked(sorted(peer_ids)):
        _set(tx, {"file_on_way": sending}, Peer.id.in_(ids))


def arrived(tx: Tx, peer_ids: Collection[str], sending: str, now: float) -> None:
    """Note that files are taken that were on their way, as they were when they set out.

    What was changed since stays out of date. Where another sending has set out since, it will say.
    """
    for ids in chunked(sorted(peer_ids)):
        _set(
            tx,
            {"file_taken_at": now, "old_file": None, "file_on_way": None},
            Peer.id.in_(ids),
            Peer.file_on_way == sending,
        )
        changed = Peer.file_on_way.is_(None), Peer.file_taken_at.is_(None)
        _set(tx, {"file_taken_at": now, "old_file": OLD}, Peer.id.in_(ids), *changed)


def of_peers(tx: Tx, peer_ids: Collection[str]) -> None:
    """Note that what the files of these peers say was changed."""
    for ids in chunked(sorted(peer_ids)):
        _changed(tx, Peer.id.in_(ids))


def of_config(tx: Tx, config_id: str, changed: Collection[str] = ()) -> None:
    """Note that of a config. `changed`: settings alone; peers with all of these of their own have what they had."""
    _changed(tx, Peer.config_id == config_id, *_without_own(changed))


def of_excluding(tx: Tx, config: Config) -> None:
    """Note that of the peers of a config whose files exclude networks: its pools are kept among what these route."""
    of_tags = select(PeerTag.peer_id).join(Tag, Tag.id == PeerTag.tag_id).where(_excludes(Tag.excluded_networks))
    own = _excludes(Peer.excluded_networks) | Peer.excluded_networks.is_(None)
    if not config.excluded_networks:
        own = _excludes(Peer.excluded_networks) | (Peer.excluded_networks.is_(None) & Peer.id.in_(of_tags))
    _changed(tx, Peer.config_id == config.id, own)


def _excludes(column: Any) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column.is_not(None) & (cast(column, String) != "[]")
    return found


def of_tag(tx: Tx, tag_id: str, changed: Collection[str]) -> None:
    """Note that of the peers with a tag, of which settings were changed, likewise; nothing where these are others."""
    if settings := frozenset(SETTINGS).intersection(changed):
        tagged = select(PeerTag.peer_id).where(PeerTag.tag_id == tag_id)
        _changed(tx, Peer.id.in_(tagged), *_without_own(settings))


def of_home(tx: Tx, config_id: str, node_id: str, changed: Collection[str] = ()) -> None:
    """Note that of the peers of a cluster whose home a node is: their files lead to it. `changed` as of a config."""
    _changed(tx, Peer.config_id == config_id, Peer.home_node_id == node_id, *_without_own(changed))


def of_users(tx: Tx, config_id: str, node: Node, changed: Collection[str] = ()) -> None:
    """Note that of the peers of an independent config that may use a node: they have files for it, likewise."""
    places = cast(PeerNodes.places, String)
    named = or_(*(places.contains(each) for each in (node.id, node.group_id) if each is not None))
    barred = select(PeerNodes.peer_id).where(~named)
    _changed(tx, Peer.config_id == config_id, Peer.id.not_in(barred), *_without_own(changed))


def of_moves(tx: Tx, operation_id: str, node_id: str) -> None:
    """Note that of the peers that an operation has moved away from a node to which their files lead."""
    moved = select(Move.peer_id).where(Move.operation_id == operation_id, Move.from_node_id == node_id)
    _changed(tx, Peer.id.in_(moved))


def _without_own(changed: Collection[str]) -> list[ColumnElement[bool]]:
    own = [getattr(Peer, name) for name in sorted(changed)]
    if not own:
        return []
    found: ColumnElement[bool] = own[0].is_(None)
    for column in own[1:]:
        found = found | column.is_(None)
    return [found]


def _changed(tx: Tx, *which: Any) -> None:
    tx.settle()
    newly = Peer.file_taken_at.is_not(None) & Peer.old_file.is_(None)
    old = case((Peer.file_taken_at.is_not(None), OLD))
    _set(tx, {"old_file": old, "file_on_way": None}, newly | Peer.file_on_way.is_not(None), *which)


def _set(tx: Tx, values: Mapping[str, Any], *which: Any) -> None:
    """Set columns of peers, locked in one order everywhere, or two transactions wait for each other."""
    locked = select(Peer.id).where(*which).order_by(Peer.id).with_for_update()
    marking = update(Peer).where(Peer.id.in_(locked)).values(values)
    tx.session.execute(marking.execution_options(synchronize_session=False))  # no object's columns are looked at
