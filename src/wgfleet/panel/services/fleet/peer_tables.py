"""Peers as rows of tables: what each is, what of a table cannot be made, and changes row by row."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from wgfleet.panel import clock
from wgfleet.panel.domain import addressing
from wgfleet.panel.domain.client_settings import SETTINGS
from wgfleet.panel.domain.fields import parse_title
from wgfleet.panel.domain.held_settings import SPEEDS
from wgfleet.panel.domain.peer_table import Values
from wgfleet.panel.errors import Conflict, Invalid, PanelError
from wgfleet.panel.services import configs, held_settings, rule_sets
from wgfleet.panel.services.fleet import (
    client_settings,
    ownership,
    peer_details,
    peer_lists,
    peer_nodes,
    peer_places,
    peers,
    tags,
    unfinished_peers,
)
from wgfleet.panel.services.fleet.peers import PeerDraft, PeerSpec
from wgfleet.panel.store import Tx
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import node_groups as group_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import tags as tag_rows
from wgfleet.panel.store import users as user_rows
from wgfleet.panel.store.listed_peers import PeerFilter
from wgfleet.panel.store.peer_nodes import Places
from wgfleet.panel.store.tables import Config, Peer
from wgfleet.panel.store.users import HeldUser
from wgfleet.protocol.addresses import host_network, parse_address, parse_network
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import parse_peer_key
from wgfleet.protocol.reasons import Reason

if TYPE_CHECKING:
    from wgfleet.panel.services.fleet.client_settings import ClientSettings

MOST_WRONG = 20  # looked for where each look is at all of a table
_AT = re.compile(r"peers\[(\d+)\]\.(\w+)")


class WrongSpec(NamedTuple):
    """What cannot be made: which of the list, None: all of it; of which field, and why."""

    number: int | None
    field: str
    detail: str


def page(tx: Tx, wanted: PeerFilter, after: str | None, limit: int) -> tuple[list[Values], str | None]:
    """Return peers that fit as rows, in the order of creation, after the id `after`; and the id to go on from."""
    found, following = peer_lists.whole(tx, wanted, after, limit)
    return values(tx, found), following


def existing(tx: Tx, config: Config, names: Collection[str], ids: Collection[str]) -> list[Values]:
    """Return the rows of those peers of a config that have one of the names or of the ids."""
    found = {peer.id: peer for peer in peer_rows.named(tx, config.id, names)}
    found |= {peer.id: peer for peer in peer_rows.by_ids(tx, ids) if peer.config_id == config.id}
    unfinished_peers.check_ended(tx, config.id, found.keys())
    return values(tx, list(found.values()))


def values(tx: Tx, found: Sequence[Peer]) -> list[Values]:
    """Return peers as rows, oldest first: what a table has of them, and no secret."""
    ids = [peer.id for peer in found]
    addresses = peers.addresses(tx, found)
    tag_names = tag_rows.names_of(tx, ids)
    groups = group_rows.by_ids(tx, {peer.group_id for peer in found if peer.group_id})
    sets = rule_sets.names(tx, {peer.rule_set for peer in found})
    usable = peer_nodes.names_of(tx, ids)
    owners = user_rows.names(tx, {peer.owner_id for peer in found if peer.owner_id})
    return [
        {
            "name": peer.name,
            "addresses": addresses.get(peer.id, []),
            "networks": list(peer.networks),
            "group": groups[peer.group_id].name if peer.group_id in groups else None,
            "nodes": usable.get(peer.id),
            "owner": owners.get(peer.owner_id or ""),
            "tags": tag_names.get(peer.id, []),
            "enabled": peer.enabled,
            "notes": peer.notes,
            **{name: getattr(peer, name) for name in (*SETTINGS, *SPEEDS)},
            "rule_set": None if peer.rule_set is None else sets.get(peer.rule_set),
            "public_key": peer.public_key,
            "preshared_key": peer.preshared_key_sealed is not None,
            "id": peer.id,
        }
        for peer in sorted(found, key=lambda peer: peer.id)
    ]


def wrong_new(tx: Tx, config: Config, specs: Sequence[PeerSpec], panel_hosts: Mapping[str, str]) -> list[WrongSpec]:
    """Return why new peers cannot be made, without making any."""
    wrong = [*_wrong_owners(tx, specs), *_wrong_details(tx, config, specs), *_wrong_addresses(tx, config, specs)]
    left = dict(enumerate(specs))
    for each in wrong:
        left.pop(each.number or 0, None)
    while left and len(wrong) < MOST_WRONG:
        drafts = [PeerDraft(spec, clock.new_id(), spec.public_key or "", None, None) for spec in left.values()]
        try:
            peer_places.check_room(tx, config, len(drafts))
            peers.check(tx, config, drafts, field="peers", panel_hosts=panel_hosts)
        except (PanelError, FieldError) as error:
            at = place(error.field or "")
            if at is None:
                return [*wrong, WrongSpec(None, "", error.detail)]
            index = list(left)[at[0]]
            wrong.append(WrongSpec(index, at[1], error.detail))
            left.pop(index)
        else:
            break
    return wrong


def place(field: str) -> tuple[int, str] | None:
    """Return which of many new peers a refusal is about, and which field of it; None: it is about all."""
    at = _AT.match(field)
    return None if at is None else (int(at[1]), at[2])


class DetailChecks:
    """Checks of tags and settings, one peer of a config after another; what many of them name is looked up once."""

    def __init__(self, tx: Tx, config: Config) -> None:
        self._tx, self._config = tx, config
        self._networks = configs.networks(tx, [config.id])[config.id]
        self._nodes: dict[tuple[tuple[str, ...], Places], WrongSpec | None] = {}
        self._tags: dict[tuple[str, ...], WrongSpec | None] = {}
        self._sets: dict[str, str] = {}
        self._owners: dict[str, HeldUser | None] = {}

    def wrong_tags(self, names: Sequence[str]) -> WrongSpec | None:
        """Return why a peer cannot have these tags."""
        if (key := tuple(names)) not in self._tags:
            self._tags[key] = _refused(None, partial(tags.named, self._tx, key, "tags"))
        return self._tags[key]

    def wrong_nodes(self, names: Sequence[str] | None, kept: Places) -> WrongSpec | None:
        """Return why a peer cannot be limited to these nodes and node groups, of which it has some; None: all."""
        if names is None:
            return None
        if (key := (tuple(names), kept)) not in self._nodes:
            parsed = partial(peer_nodes.parsed, self._tx, self._config, key[0], kept=kept)
            self._nodes[key] = _refused(None, parsed)
        return self._nodes[key]

    def wrong_settings(self, of_file: Mapping[str, Any], held: Mapping[str, Any]) -> WrongSpec | None:
        """Return why a peer's file cannot have these settings, or nodes cannot hold it to those."""
        return _refused(
            None, partial(client_settings.checked, cast("ClientSettings", of_file), self._networks)
        ) or _refused(None, partial(held_settings.checked, self._tx, held, known=self._sets))

    def wrong_owner(self, owner: str | None, *, enabled: bool) -> WrongSpec | None:
        """Return why a peer that is on, or off, cannot be a user's device."""
        if not owner:
            return None
        if owner not in self._owners:
            user = user_rows.find(self._tx, owner)
            self._owners[owner] = None if user is None else HeldUser(user.name, user.disabled)
        return _refused(None, partial(ownership.check, self._owners[owner], "owner", enabled=enabled))

    def wrong_change(self, changes: Values, *, enabled: bool, kept: Places) -> WrongSpec | None:
        """Return why a peer, on or off by then, cannot be changed so, as far as that does not depend on other lines."""
        return (
            self.wrong_owner(changes.get("owner"), enabled=enabled)
            or self.wrong_settings(changes, changes)
            or self.wrong_tags(changes.get("tags", ()))
            or self.wrong_nodes(changes.get("nodes"), kept)
            or _refused(None, partial(_check_texts, changes))
        )


def _check_texts(values: Values) -> None:
    if "name" in values:
        parse_title(values["name"], peers.MAX_NAME)
    if values.get("notes"):
        peer_details.parse_notes(values["notes"], "notes")
    if values.get("public_key"):
        parse_peer_key(values["public_key"], "public_key")
    for i, network in enumerate(values.get("networks") or ()):
        parse_network(network, f"networks[{i}]")


def _wrong_owners(tx: Tx, specs: Sequence[PeerSpec]) -> list[WrongSpec]:
    owners = user_rows.held(tx, {spec.owner_id for spec in specs if spec.owner_id is not None})
    found = [
        _refused(index, partial(ownership.check, owners.get(spec.owner_id), "owner", enabled=spec.enabled))
        for index, spec in enumerate(specs)
        if spec.owner_id is not None
    ]
    return [each for each in found if each is not None]


def _wrong_details(tx: Tx, config: Config, specs: Sequence[PeerSpec]) -> list[WrongSpec]:
    checks = DetailChecks(tx, config)
    wrong = []
    for index, spec in enumerate(specs):
        if (details := spec.details) is None:
            continue
        bad = (
            checks.wrong_tags(details.tags)
            or checks.wrong_settings(details.settings, details.held)
            or _refused(None, partial(_check_texts, {"notes": details.notes}))
        )
        if bad is not None:
            wrong.append(bad._replace(number=index))
    return wrong


def _refused(index: int | None, check: Callable[[], object]) -> WrongSpec | None:
    try:
        check()
    except (PanelError, FieldError) as error:
        return WrongSpec(index, (error.field or "").partition("[")[0], error.detail)
    except ValueError as error:
        return WrongSpec(index, "addresses", str(error))
    return None


def _wrong_addresses(tx: Tx, config: Config, specs: Sequence[PeerSpec]) -> list[WrongSpec]:
    if not any(spec.addresses for spec in specs):
        return []
    pools = address_rows.pools(tx, config.id, slices=config.mode == configs.INDEPENDENT)
    taken = {text for texts in address_rows.of_peers(tx, None, config.id).values() for text in texts}

    def take(texts: Sequence[str]) -> None:
        left = list(pools)
        for text in texts:
            address = parse_address(text, "addresses")
            pool = next((each for each in left if addressing.contains(each.network, host_network(address))), None)
            if pool is None:
                raise Invalid(
                    Reason("{address} is in no pool of the config, or a second one of a pool", address=address),
                    field="addresses",
                )
            addressing.offset_of(pool.network, address, pool.server_address)
            left.remove(pool)
            if address in taken:
                raise Conflict(Reason("{address} is the address of another peer", address=address), field="addresses")
            taken.add(address)

    found = [_refused(index, partial(take, spec.addresses)) for index, spec in enumerate(specs)]
    return [each for each in found if each is not None]
