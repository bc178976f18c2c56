"""User devices: creating, changing, deleting and finding them."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from wgfleet.panel import clock
from wgfleet.panel.domain.fields import check_range, one_spelling, parse_title
from wgfleet.panel.domain.look_alikes import folded, seen
from wgfleet.panel.errors import Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.keypairs import new_key_pair, new_preshared_key
from wgfleet.panel.services import audit, configs, generations, held_settings, tunnel_networks, usage
from wgfleet.panel.services.fleet import peer_details, peer_keys, peer_networks, peer_places
from wgfleet.panel.services.fleet.peer_details import DetailChanges, PeerDetails
from wgfleet.panel.services.fleet.peer_networks import ChangedNetworks
from wgfleet.panel.services.fleet.peer_places import AddressWish
from wgfleet.panel.services.fleet.unfinished_peers import check_ended, check_name, check_new_name
from wgfleet.panel.store import Tx, new_files, peer_search, sealed, shown_peers
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.peer_search import Found
from wgfleet.panel.store.sessions import LastSession
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import Config, Peer
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import parse_network
from wgfleet.protocol.keys import parse_peer_key
from wgfleet.protocol.reasons import Reason

MAX_NAME = 64
MAX_DIGITS = 8  # of a number that is counted on; a longer one is a telephone number, or of a SIM card
MAX_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class PeerSpec:
    """A peer to be made. `public_key` None: the panel makes the pair. `keepalive` in s, None: as tags or config say.

    `addresses`: wanted ones, at most one a pool; the rest is allocated. `networks` are networks behind the peer,
    `group` is the name of the node group to place it in, `owner_id` of the user whose device it is.
    """

    name: str
    public_key: str | None = None
    preshared_key: bool = True
    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    keepalive: int | None = None
    group: str | None = None
    enabled: bool = True
    owner_id: str | None = None
    details: PeerDetails | None = None


@dataclass(frozen=True, slots=True)
class PeerDraft:
    """A peer to be made with all that costs time: its id, its keys, its secrets sealed for it. Made by `draft`."""

    spec: PeerSpec
    id: str
    public_key: str
    private_key_sealed: bytes | None = dataclasses.field(repr=False)
    preshared_key_sealed: bytes | None = dataclasses.field(repr=False)


class Created(NamedTuple):
    """New peers by their columns, and the addresses of each by its id."""

    columns: list[dict[str, Any]]
    addresses: dict[str, list[str]]

    def peers(self) -> list[Peer]:
        """Return the peers, to be looked at and not changed. Thousands take a while: call it after the commit."""
        return [Peer(**columns) for columns in self.columns]

    def rows(self) -> list[ShownPeer]:
        """Return the peers as answers show them."""
        return [shown_peers.of_columns(columns) for columns in self.columns]


class PeerChanges(DetailChanges, total=False):
    """What may change in a peer; what is left out stays. `rotate_keys` makes a new pair and preshared key."""

    name: str
    networks: Sequence[str]
    group_id: str | None
    enabled: bool
    public_key: str
    rotate_keys: bool


def draft(vault: Vault, specs: Sequence[PeerSpec]) -> list[PeerDraft]:
    """Make the keys of new peers. Call it before the transaction: 10,000 take a second, in which nobody else writes."""
    drafts = []
    for each in specs:
        spec = dataclasses.replace(each, name=one_spelling(each.name))
        peer_id = clock.new_id()
        private, public = (None, spec.public_key) if spec.public_key is not None else new_key_pair()
        psk = new_preshared_key() if spec.preshared_key else None
        drafts.append(
            PeerDraft(
                spec=spec,
                id=peer_id,
                public_key=public,
                private_key_sealed=sealed.seal(vault, Peer.private_key_sealed, peer_id, private) if private else None,
                preshared_key_sealed=sealed.seal(vault, Peer.preshared_key_sealed, peer_id, psk) if psk else None,
            )
        )
    return drafts


def numbered(
    tx: Tx, config: Config, prefix: str, drafts: Sequence[PeerDraft], first: int | None = None
) -> list[PeerDraft]:
    """Name drafts by a prefix and numbers from `first` on; None: from one more than the highest in use."""
    if first is None:
        first = _next_number(tx, config, prefix)
    return [
        dataclasses.replace(draft, spec=dataclasses.replace(draft.spec, name=f"{prefix}{number}"))
        for number, draft in enumerate(drafts, first)
    ]


def create(
    tx: Tx,
    actor: str,
    config: Config,
    drafts: Sequence[PeerDraft],
    *,
    field: str = "",
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
) -> Created:
    """Make peers, all or none.

    `field` is the path of the list in the request, for errors (`peers`); `panel_hosts` as in `peer_networks`.
    """
    made = add(tx, config, drafts, field=field, panel_hosts=panel_hosts)
    record_created(tx, actor, config, drafts)
    return made


def record_created(tx: Tx, actor: str, config: Config, drafts: Sequence[PeerDraft]) -> None:
    """Note in the audit log that peers were made."""
    first = drafts[0]
    if len(drafts) == 1:
        audit.record(tx, actor, "created", "peer", first.id, name=first.spec.name, config=config.name)
    else:
        values = {"count": len(drafts), "first": first.spec.name, "last": drafts[-1].spec.name}
        audit.record(tx, actor, "peers_created", "config", config.id, **values)


def check_count(drafts: Sequence[PeerDraft], field: str = "") -> None:
    """Refuse more peers in a call than there may be, and none."""
    if not 1 <= len(drafts) <= MAX_BATCH:
        said = Reason("give 1 to {most} peers in a call, not {count}", most=MAX_BATCH, count=len(drafts))
        raise Invalid(said, field=field or None)


def check(
    tx: Tx,
    config: Config,
    drafts: Sequence[PeerDraft],
    *,
    field: str = "",
    first: int = 0,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    pools: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Refuse what cannot be made, and return the columns of peers as they would be, but for their generation.

    `pools`: the networks of a config that is not there yet.
    """
    check_count(drafts, field)
    specs = [draft.spec for draft in drafts]
    places = _places(field, first, drafts)
    _check_unique(tx, config, specs, places)
    networks = [(spec.networks, f"{at}networks") for spec, at in zip(specs, places, strict=True)]
    peer_networks.check(tx, config, networks, panel_hosts=panel_hosts, pools=pools)
    groups = peer_places.groups(tx, [(spec.group, at) for spec, at in zip(specs, places, strict=True)])
    made = [_new(config, draft, groups, at) for draft, at in zip(drafts, places, strict=True)]
    usable = peer_details.usable(tx, config, _detailed(drafts, places))
    homes = peer_places.homes(tx, config, [(values["id"], values["group_id"]) for values in made], usable)
    for values in made:
        values["home_node_id"] = homes.get(values["id"])
    return made


def add(
    tx: Tx,
    config: Config,
    drafts: Sequence[PeerDraft],
    *,
    field: str = "",
    first: int = 0,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    topic: Topic | None = Topic.NEW_PEERS,
    spoken_for: Collection[str] = (),
) -> Created:
    """Make peers as `create` does, without an entry in the audit log. `first`: the number of the first one in the list.

    `topic`: who hears of it, None: nobody yet. `spoken_for`: addresses that later ones of the list want.
    """
    rerouted = any(draft.spec.networks for draft in drafts)
    generation = generations.bump(tx, config.id, settings=rerouted, topic=topic)
    made = check(tx, config, drafts, field=field, first=first, panel_hosts=panel_hosts)
    for values in made:
        values["generation"] = generation
    peer_rows.add(tx, made)
    # The panel's own keys are new, and nobody had them before.
    peer_rows.unbury(tx, config.id, [each.spec.public_key for each in drafts if each.spec.public_key is not None])
    places = _places(field, first, drafts)
    if details := _detailed(drafts, places):
        peer_details.give(tx, config, details)
    wanted = [AddressWish(each.id, each.spec.addresses, at) for each, at in zip(drafts, places, strict=True)]
    return Created(made, peer_places.give_addresses(tx, config, wanted, spoken_for))


def _detailed(drafts: Sequence[PeerDraft], places: Sequence[str]) -> list[tuple[str, PeerDetails, str]]:
    return [(d.id, d.spec.details, at) for d, at in zip(drafts, places, strict=True) if d.spec.details is not None]


def _places(field: str, first: int, drafts: Sequence[PeerDraft]) -> list[str]:
    return [f"{field}[{first + i}]." if field else "" for i in range(len(drafts))]


def get(tx: Tx, peer_id: str) -> Peer:
    """Return a peer, of which no call that has not ended may take it back."""
    if (peer := peer_rows.get(tx, peer_id)) is None:
        raise _no_peer(peer_id)
    check_ended(tx, peer.config_id, [peer.id])
    return peer


def shown(tx: Tx, peer_id: str) -> ShownPeer:
    """Return a peer to be looked at."""
    if (peer := shown_peers.get(tx, peer_id)) is None:
        raise _no_peer(peer_id)
    return peer


def _no_peer(peer_id: str) -> NotFound:
    return NotFound(Reason("there is no peer {peer_id!r}", peer_id=peer_id), Hint(HintCode.LIST_PEERS))


def page(tx: Tx, config_id: str | None, after: str | None = None, limit: int = 100) -> list[ShownPeer]:
    """Return peers in the order of creation, starting after the id `after`."""
    return shown_peers.page(tx, config_id, after, limit)


def search(tx: Tx, config_id: str, part: str, after: str | None = None, limit: int = 100) -> Found:
    """Return the peers whose name has a part in it, or whose key or address it is, in the order of creation."""
    return peer_search.search(tx, config_id, after, limit, one_spelling(part))


def addresses(tx: Tx, peers: Sequence[Peer | ShownPeer]) -> dict[str, list[str]]:
    """Return the addresses of peers, by peer id."""
    of: dict[str, list[str]] = {}
    for config_id in {peer.config_id for peer in peers}:
        of |= address_rows.of_peers(tx, [peer.id for peer in peers if peer.config_id == config_id], config_id)
    return of


def sessions(tx: Tx, peer_ids: Collection[str]) -> dict[str, LastSession]:
    """Return the latest session of each peer that was ever seen."""
    return session_rows.latest(tx, peer_ids)


def update(
    tx: Tx,
    vault: Vault,
    actor: str,
    peer: Peer,
    changes: PeerChanges,
    *,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    networks: ChangedNetworks | None = None,
) -> Peer:
    """Change a peer; new keys leave the old public key behind as a tombstone. `networks`: of all that are changed."""
    details = {name: value for name, value in changes.items() if name in peer_details.CHANGEABLE}
    among = networks or ChangedNetworks(panel_hosts)
    changed = _change_on_nodes(tx, vault, peer, changes, among) if changes.keys() - details.keys() else []
    changed += peer_details.change(tx, peer, cast("DetailChanges", details))
    if changed:
        audit.record(tx, actor, "updated", "peer", peer.id, name=peer.name, changed=changed)
    return peer


def _change_on_nodes(tx: Tx, vault: Vault, peer: Peer, changes: PeerChanges, networks: ChangedNetworks) -> list[str]:
    # A peer's networks are routes of the interface, and come and go with it.
    rerouted = "networks" in changes or ("enabled" in changes and bool(peer.networks))
    generation = generations.bump(tx, peer.config_id, settings=rerouted, topic=Topic.PEERS)
    tx.refresh(peer)
    if "public_key" in changes and changes.get("rotate_keys"):
        raise Invalid(Reason("give a public key or ask for new keys, not both"), field="public_key")
    changed = _set_columns(tx, peer, changes, networks)
    if "public_key" in changes or changes.get("rotate_keys"):
        _replace_keys(tx, vault, peer, changes.get("public_key"), generation)
        changed.append("keys")
    if not {"keys", "networks"}.isdisjoint(changed):
        new_files.of_peers(tx, [peer.id])
    peer.generation = generation
    return changed


def delete(tx: Tx, actor: str, config: Config, peer_ids: Collection[str]) -> None:
    """Delete peers of a config and give their addresses back."""
    for peer in remove(tx, config, peer_ids):
        audit.record(tx, actor, "deleted", "peer", peer.id, name=peer.name, config=config.name)


def remove(tx: Tx, config: Config, peer_ids: Collection[str]) -> list[Peer]:
    """Delete peers as `delete` does, without entries in the audit log; return what they were."""
    peers = peer_rows.by_ids(tx, peer_ids)
    generation = generations.bump(tx, config.id, settings=any(peer.networks for peer in peers), topic=Topic.PEERS)
    held_settings.peers_go(tx, config.id, peer_ids)
    peer_rows.bury(tx, config.id, {peer.public_key: peer.name for peer in peers}, generation, clock.now())
    usage.leave(tx, config.id, {peer.public_key: (peer.id, peer.name) for peer in peers}, clock.now())
    address_rows.release(tx, [peer.id for peer in peers])
    peer_rows.remove(tx, [peer.id for peer in peers])
    return peers


def _set_columns(tx: Tx, peer: Peer, changes: PeerChanges, networks: ChangedNetworks) -> list[str]:
    """Set what is no key; return the names of what is different now."""
    values: dict[str, Any] = {}
    if "name" in changes:
        values["name"] = parse_title(changes["name"], MAX_NAME)
        check_new_name(tx, peer, values["name"])
    if "networks" in changes:
        networks.check(tx, configs.get(tx, peer.config_id), peer, changes["networks"], "networks")
        values["networks"] = [parse_network(each, "networks") for each in changes["networks"]]
    values |= {name: value for name, value in changes.items() if name in {"group_id", "enabled"}}
    changed = [name for name, value in values.items() if getattr(peer, name) != value]
    for name in changed:
        setattr(peer, name, values[name])
    return changed


def _check_unique(tx: Tx, config: Config, specs: Sequence[PeerSpec], places: Sequence[str]) -> None:
    """Refuse names and public keys that the config, or the same list, has already."""
    keys_at = [(spec.public_key, f"{at}public_key") for spec, at in zip(specs, places, strict=True)]
    taken = {seen(name): name for name in peer_rows.clashes(tx, config.id, [spec.name for spec in specs], [])[0]}
    peer_keys.check_free(tx, config, [(key, at) for key, at in keys_at if key is not None])
    for spec, at in zip(specs, places, strict=True):
        name = parse_title(spec.name, MAX_NAME, f"{at}name")
        check_name(tx, config.id, name, taken, f"{at}name")
        taken[seen(name)] = name


def _next_number(tx: Tx, config: Config, prefix: str) -> int:
    """Return one more than the highest number in use after `prefix` in a peer's name; 1 if there is none."""
    endings = (name.removeprefix(prefix) for name in peer_rows.names(tx, config.id, prefix))
    numbers = (each for each in endings if each.isascii() and each.isdigit() and len(each) <= MAX_DIGITS)
    return max(map(int, numbers), default=0) + 1


def _new(config: Config, draft: PeerDraft, groups: Mapping[str | None, str | None], at: str) -> dict[str, Any]:
    """Return the columns of a new peer, but for its home and its generation."""
    spec = draft.spec
    check_range(spec.keepalive or 0, 0, configs.MAX_KEEPALIVE_S, f"{at}keepalive", "s")
    return {
        "id": draft.id,
        "config_id": config.id,
        "name": spec.name,
        "name_folded": folded(spec.name),
        "public_key": draft.public_key,
        "private_key_sealed": draft.private_key_sealed,
        "preshared_key_sealed": draft.preshared_key_sealed,
        "networks": [parse_network(each, f"{at}networks") for each in spec.networks],
        "keepalive": spec.keepalive,
        "enabled": spec.enabled,
        "group_id": groups[spec.group],
        "owner_id": spec.owner_id,
        "created_at": clock.now(),
    } | dict.fromkeys(("restricted_at", "restricted_because", "file_taken_at", "old_file", "file_on_way"))


def _replace_keys(tx: Tx, vault: Vault, peer: Peer, public_key: str | None, generation: int) -> None:
    private, public = (None, parse_peer_key(public_key)) if public_key is not None else new_key_pair()
    if public == peer.public_key:
        return
    peer_keys.check_free(tx, configs.get(tx, peer.config_id), [(public, "public_key")])
    peer_rows.bury(tx, peer.config_id, {peer.public_key: peer.name}, generation, clock.now())
    usage.leave(tx, peer.config_id, {peer.public_key: (peer.id, peer.name)}, clock.now())
    peer_rows.unbury(tx, peer.config_id, [public])
    peer.public_key = public
    peer.private_key_sealed = sealed.seal(vault, Peer.private_key_sealed, peer.id, private) if private else None
    if peer.preshared_key_sealed is not None:
        peer.preshared_key_sealed = sealed.seal(vault, Peer.preshared_key_sealed, peer.id, new_preshared_key())
