"""Settings that nodes hold peers to: checked, found for peers, and nodes told where they change."""

from collections.abc import Collection, Container, Mapping
from typing import Any, NamedTuple, TypedDict

from wgfleet.panel.domain import client_settings
from wgfleet.panel.domain.client_settings import InEffect, Layer
from wgfleet.panel.domain.held_settings import HELD, NOTHING_HELD, SPEEDS, HeldSettings, nearest
from wgfleet.panel.services import generations, rule_sets
from wgfleet.panel.store import Tx
from wgfleet.panel.store import held_settings as held_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import rule_sets as rule_set_rows
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import Config, Peer, Tag
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.quantities import check_speed
from wgfleet.protocol.quotes import quoted


class SupposedTag(NamedTuple):
    """Peers that are taken to have a tag, or not to have it."""

    tag_id: str
    peer_ids: frozenset[str]
    has: bool


class HeldChanges(TypedDict, total=False):
    """Settings of a peer, a tag or a config. None: as the next one says; left out of a change: as it was."""

    download_speed: int | None
    upload_speed: int | None
    rule_set: str | None


def checked(tx: Tx, changes: Mapping[str, Any], at: str = "", known: dict[str, str] | None = None) -> dict[str, Any]:
    """Return those of some changes that are of this subject as rows have them, or name the field that is wrong.

    `known`: ids of sets of rules that were looked up for other changes of the same call.
    """
    values = {name: changes[name] for name in HELD if name in changes}
    for name in SPEEDS:
        check_speed(values.get(name) or 0, f"{at}{name}")
    if "rule_set" in values:
        values["rule_set"] = rule_sets.id_for(tx, values["rule_set"], f"{at}rule_set", {} if known is None else known)
    return values


def of_row(row: Peer | ShownPeer | Tag | Config) -> HeldSettings:
    """Return what a row sets."""
    return HeldSettings(row.download_speed, row.upload_speed, row.rule_set)


def in_effect(
    tx: Tx,
    config_id: str,
    own: Mapping[str, HeldSettings],
    peer_ids: Collection[str] | None,
    supposed: SupposedTag | None = None,
) -> tuple[HeldSettings, dict[str, HeldSettings]]:
    """Return what counts for peers of a config: for those that the config alone sets something for, and by id.

    `own`: what peers set for themselves, where they do. `peer_ids`: of whom; None: of all. `supposed`: what is taken
    to be so, and is not.
    """
    of_config = held_rows.of_configs(tx, [config_id]).get(config_id, NOTHING_HELD)
    tags = held_rows.of_tags(tx)
    tagged = held_rows.tagged(tx, tags, config_id, peer_ids) if tags else {}
    if supposed is not None:
        for peer_id in supposed.peer_ids:
            others = tagged.get(peer_id, set()) - {supposed.tag_id}
            tagged[peer_id] = {*others, supposed.tag_id} if supposed.has else others
    found = {}
    known: dict[tuple[HeldSettings, ...], HeldSettings] = {}  # thousands have the same
    for peer_id in {*own, *tagged}:
        own_tags = tagged.get(peer_id, ())
        layers = (own.get(peer_id, NOTHING_HELD), *(sets for tag_id, (_, sets) in tags.items() if tag_id in own_tags))
        if layers not in known:
            known[layers] = nearest([*layers, of_config])
        found[peer_id] = known[layers]
    return of_config, found


def of_peers(tx: Tx, peers: Collection[ShownPeer], special: Container[str] | None = None) -> dict[str, HeldSettings]:
    """Return what counts for peers, by id.

    `special`: of peers that were just made, who may set something, or have a tag; None: they were read, as they are.
    """
    found: dict[str, HeldSettings] = {}
    for config_id in {peer.config_id for peer in peers}:
        mine = [peer for peer in peers if peer.config_id == config_id]
        asked = [peer.id for peer in mine if special is None or peer.id in special]
        own = _own(mine) if special is None else held_rows.of_peers(tx, asked)
        of_others, of_some = in_effect(tx, config_id, own, asked)
        found |= {peer.id: of_some.get(peer.id, of_others) for peer in mine}
    return found


def _own(peers: Collection[ShownPeer]) -> dict[str, HeldSettings]:
    """Return what peers set for themselves, by id; those that set nothing are left out."""
    return {peer.id: sets for peer in peers if not (sets := of_row(peer)).is_empty}


def origins(tx: Tx, peer: Peer) -> dict[str, InEffect]:
    """Return the settings of a peer, and what set each."""
    tags = held_rows.of_tags(tx)
    has = held_rows.tagged(tx, tags, None, [peer.id]).get(peer.id, set()) if tags else set()
    layers = [
        Layer("peer", of_row(peer)._asdict()),
        *(Layer(f"tag {quoted(name)}", sets._asdict()) for tag_id, (name, sets) in tags.items() if tag_id in has),
        Layer("config", held_rows.of_configs(tx, [peer.config_id])[peer.config_id]._asdict()),
    ]
    return client_settings.in_effect(layers, HELD)


def peers_changed(tx: Tx, peer_ids: Collection[str], *, rules: bool = False) -> None:
    """Have nodes told of peers for which something else counts. `rules`: their sets of rules may be others."""
    for config_id, ids in held_rows.by_config(tx, peer_ids).items():
        peer_rows.touch(tx, ids, generations.bump(tx, config_id, settings=rules, topic=Topic.PEERS))


def tags_changed(tx: Tx, tags: Collection[Tag], peer_ids: Collection[str]) -> None:
    """Have nodes told of peers that get or lose tags, if one of those sets something."""
    if not all(of_row(tag).is_empty for tag in tags):
        peers_changed(tx, peer_ids, rules=any(tag.rule_set for tag in tags))


def tag_changed(tx: Tx, tag: Tag, *, rules: bool = False) -> None:
    """Have nodes told of all peers of a tag that sets, or set, something else."""
    for config_id in held_rows.configs_with(tx, tag.id):
        generation = generations.bump(tx, config_id, settings=rules, topic=Topic.PEERS)
        held_rows.touch_tagged(tx, config_id, tag.id, generation)


def config_changed(tx: Tx, config: Config, *, rules: bool = False) -> None:
    """Have nodes told of all peers of a config that sets something else."""
    held_rows.touch_config(tx, config.id, generations.bump(tx, config.id, settings=rules, topic=Topic.PEERS))


def peers_came(tx: Tx, config_id: str, peer_ids: Collection[str]) -> None:
    """Have nodes told of the sets of rules of new peers, and of their tags."""
    if _name_rules(tx, peer_ids):
        generations.bump(tx, config_id, settings=True, topic=None)  # who made them wakes whom it concerns


def peers_go(tx: Tx, config_id: str, peer_ids: Collection[str]) -> None:
    """Have nodes told that sets of rules of peers, and of their tags, may be used no more."""
    if _name_rules(tx, peer_ids):
        generations.bump(tx, config_id, settings=True, topic=Topic.PEERS)


def _name_rules(tx: Tx, peer_ids: Collection[str]) -> bool:
    return bool(rule_set_rows.count(tx)) and rule_set_rows.any_named(tx, peer_ids)
