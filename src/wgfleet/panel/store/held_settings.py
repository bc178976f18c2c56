"""Settings that nodes hold peers to, as rows of peers, tags and configs have them, and whom a change is about."""

from collections.abc import Collection, Mapping
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, Table, bindparam, or_, select, update

from wgfleet.panel.domain.held_settings import HELD, HeldSettings
from wgfleet.panel.store.among import among
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Config, Peer, PeerTag, Tag

_tags, _peers, _configs, _peer_tags = (cast("Table", each.__table__) for each in (Tag, Peer, Config, PeerTag))


def _sets_any(table: Table) -> ColumnElement[bool]:
    return or_(*(table.c[name].is_not(None) for name in HELD))


def _held(table: Table, *columns: str) -> Select[Any]:
    return select(*(table.c[name] for name in (*columns, *HELD)))


# Made once: lists of peers ask them for each page.
_OF_TAGS = _held(_tags, "id", "name").where(_sets_any(_tags)).order_by(_tags.c.name)
_OF_CONFIGS = _held(_configs, "id").where(among(_configs.c.id, "ids"))
_OF_PEERS = _held(_peers, "id").where(among(_peers.c.id, "ids"), _sets_any(_peers))
_OF_PEERS_IN = _held(_peers, "id").where(_peers.c.config_id == bindparam("config_id"), _sets_any(_peers))
_TAGGED = select(_peer_tags.c.peer_id, _peer_tags.c.tag_id).where(among(_peer_tags.c.tag_id, "tag_ids"))
_TAGGED_OF_SOME = _TAGGED.where(among(_peer_tags.c.peer_id, "ids"))
_TAGGED_OF_CONFIG = _TAGGED.join(_peers, _peers.c.id == _peer_tags.c.peer_id).where(
    _peers.c.config_id == bindparam("config_id")
)


def of_tags(tx: Tx) -> dict[str, tuple[str, HeldSettings]]:
    """Return the tags that set something, by id in the order of names: each with its name, and what it sets."""
    rows = tx.connection.execute(_OF_TAGS)
    return {tag_id: (name, HeldSettings._make(values)) for tag_id, name, *values in rows}


def of_configs(tx: Tx, config_ids: Collection[str]) -> dict[str, HeldSettings]:
    """Return what configs set, by id."""
    rows = tx.connection.execute(_OF_CONFIGS, {"ids": list(config_ids)})
    return {config_id: HeldSettings._make(values) for config_id, *values in rows}


def of_peers(tx: Tx, peer_ids: Collection[str]) -> dict[str, HeldSettings]:
    """Return what peers set for themselves, by id; those that set nothing are left out."""
    return {
        peer_id: HeldSettings._make(values)
        for chunk in chunked(peer_ids)
        for peer_id, *values in tx.connection.execute(_OF_PEERS, {"ids": chunk})
    }


def of_peers_in(tx: Tx, config_id: str) -> dict[str, HeldSettings]:
    """Return what the peers of a config set for themselves, by id; those that set nothing are left out."""
    rows = tx.connection.execute(_OF_PEERS_IN, {"config_id": config_id})
    return {peer_id: HeldSettings._make(values) for peer_id, *values in rows}


def tagged(
    tx: Tx, tag_ids: Collection[str], config_id: str | None, peer_ids: Collection[str] | None
) -> dict[str, set[str]]:
    """Return which of some tags peers have, by peer id: of some peers, or (None) of all of a config."""
    found: dict[str, set[str]] = {}
    wanted = {"tag_ids": list(tag_ids)}
    if peer_ids is None:
        asked = [(_TAGGED_OF_CONFIG, {**wanted, "config_id": config_id})]
    else:
        asked = [(_TAGGED_OF_SOME, {**wanted, "ids": chunk}) for chunk in chunked(peer_ids)]
    for query, values in asked:
        for peer_id, tag_id in tx.connection.execute(query, values):
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
