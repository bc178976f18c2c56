"""Marks of peers whose files are out of date: taken from here, and something that they say was changed since."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, select, update

from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Config, EndpointGroup, Peer, PeerTag

OLD = 1
"""What a peer with such a file has in `old_file`: a value, as an index has places by it and not by its absence."""
_SETTINGS = frozenset({"client_allowed_ips", "excluded_networks", "dns", "mtu", "keepalive", "endpoint_port"})


def taken(tx: Tx, peer_ids: Collection[str], now: float) -> None:
    """Note that the files of peers are taken, as they are now."""
    for ids in chunked(peer_ids):
        _set(tx, {"file_taken_at": now, "old_file": None}, Peer.id.in_(ids))


def of_peers(tx: Tx, peer_ids: Collection[str]) -> None:
    """Note that what the files of these peers say was changed."""
    for ids in chunked(peer_ids):
        _changed(tx, Peer.id.in_(ids))


def of_config(tx: Tx, config_id: str, changed: Collection[str] = ()) -> None:
    """Note that of a config. `changed`: settings alone; peers with all of these of their own have what they had."""
    _changed(tx, Peer.config_id == config_id, *_without_own(changed))


def of_tag(tx: Tx, tag_id: str, changed: Collection[str]) -> None:
    """Note that of the peers with a tag, of which settings were changed, likewise; nothing where these are others."""
    if settings := _SETTINGS.intersection(changed):
        tagged = select(PeerTag.peer_id).where(PeerTag.tag_id == tag_id)
        _changed(tx, Peer.id.in_(tagged), *_without_own(settings))


def of_node(tx: Tx, node_id: str, config_ids: Collection[str]) -> None:
    """Note that a node is reached at another address: it is in files of those configs that have no name of their own.

    In a cluster it is in those of peers whose home it is.
    """
    named = select(EndpointGroup.config_id)
    independent = select(Config.id).where(Config.mode == "independent")
    at_home = (Peer.home_node_id == node_id) | Peer.config_id.in_(independent)
    _changed(tx, Peer.config_id.in_(config_ids), Peer.config_id.not_in(named), at_home)


def of_node_name(tx: Tx, config_ids: Collection[str]) -> None:
    """Note that a node of those configs has another name: files of independent ones with a domain say it."""
    named, independent = select(EndpointGroup.config_id), select(Config.id).where(Config.mode == "independent")
    _changed(tx, Peer.config_id.in_(config_ids), Peer.config_id.in_(named), Peer.config_id.in_(independent))


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
    _set(tx, {"old_file": OLD}, Peer.file_taken_at.is_not(None), Peer.old_file.is_(None), *which)


def _set(tx: Tx, values: Mapping[str, Any], *which: Any) -> None:
    """Set columns of peers, locked in one order everywhere, or two transactions wait for each other."""
    locked = select(Peer.id).where(*which).order_by(Peer.id).with_for_update()
    marking = update(Peer).where(Peer.id.in_(locked)).values(values)
    tx.session.execute(marking.execution_options(synchronize_session=False))  # no object's columns are looked at
