"""Settings that nodes hold peers to, as rows of peers, tags and configs have them, and whom a change is about."""

from collections.abc import Collection, Mapping

from sqlalchemy import or_, select, update

from wgfleet.panel.domain.held_settings import HELD, HeldSettings
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Config, Peer, PeerTag, Tag

_OF_TAG = tuple(getattr(Tag, name) for name in HELD)
_OF_PEER = tuple(getattr(Peer, name) for name in HELD)
_OF_CONFIG = tuple(getattr(Config, name) for name in HELD)


def of_tags(tx: Tx) -> dict[str, tuple[str, HeldSettings]]:
    """Return the tags that set something, by id in the order of names: each with its name, and what it sets."""
    query = select(Tag.id, Tag.name, *_OF_TAG).where(or_(*(column.is_not(None) for column in _OF_TAG)))
    rows = tx.session.execute(query.order_by(Tag.name))
    return {tag_id: (name, HeldSettings(*values)) for tag_id, name, *values in rows}


def of_configs(tx: Tx, config_ids: Collection[str]) -> dict[str, HeldSettings]:
    """Return what configs set, by id."""
    query = select(Config.id, *_OF_CONFIG).where(Config.id.in_(config_ids))
    return {config_id: HeldSettings(*values) for config_id, *values in tx.session.execute(query)}


def of_peers(tx: Tx, peer_ids: Collection[str]) -> dict[str, HeldSettings]:
    """Return what peers set for themselves, by id; those that set nothing are left out."""
    sets_any = or_(*(column.is_not(None) for column in _OF_PEER))
    return {
        peer_id: HeldSettings(*values)
        for chunk in chunked(peer_ids)
        for peer_id, *values in tx.session.execute(select(Peer.id, *_OF_PEER).where(Peer.id.in_(chunk), sets_any))
    }


def tagged(
    tx: Tx, tag_ids: Collection[str], config_id: str | None, peer_ids: Collection[str] | None
) -> dict[str, set[str]]:
    """Return which of some tags peers have, by peer id: of some peers, or (None) of all of a config."""
    found: dict[str, set[str]] = {}
    query = select(PeerTag.peer_id, PeerTag.tag_id).where(PeerTag.tag_id.in_(tag_ids))
    if peer_ids is None:
        queries = [query.join(Peer, Peer.id == PeerTag.peer_id).where(Peer.config_id == config_id)]
    else:
        queries = [query.where(PeerTag.peer_id.in_(chunk)) for chunk in chunked(peer_ids)]
    for each in queries:
        for peer_id, tag_id in tx.session.execute(each):
            found.setdefault(peer_id, set()).add(tag_id)
    return found


def configs_with(tx: Tx, tag_id: str) -> list[str]:
    """Return the ids of the configs that have peers with a tag, sorted."""
    query = select(Peer.config_id).join(PeerTag, PeerTag.peer_id == Peer.id).where(PeerTag.tag_id == tag_id)
    return sorted(tx.session.scalars(query.distinct()))


def by_config(tx: Tx, peer_ids: Collection[str]) -> Mapping[str, list[str]]:
    """Return peers by config, in the order of ids of configs."""
    found: dict[str, list[str]] = {}
    for chunk in chunked(peer_ids):
        for peer_id, config_id in tx.session.execute(select(Peer.id, Peer.config_id).where(Peer.id.in_(chunk))):
            found.setdefault(config_id, []).append(peer_id)
    return dict(sorted(found.items()))


def touch_config(tx: Tx, config_id: str, generation: int) -> None:
    """Mark all peers of a config as changed at a generation."""
    changed = update(Peer).where(Peer.config_id == config_id).values(generation=generation)
    tx.session.execute(changed.execution_options(synchronize_session="fetch"))


def touch_tagged(tx: Tx, config_id: str, tag_id: str, generation: int) -> None:
    """Mark the peers of a config that have a tag as changed at a generation."""
    has = select(PeerTag.peer_id).where(PeerTag.tag_id == tag_id)
    changed = update(Peer).where(Peer.config_id == config_id, Peer.id.in_(has)).values(generation=generation)
    tx.session.execute(changed.execution_options(synchronize_session="fetch"))
