"""Imports of interfaces of other programs: a config with the same key, its peers, and what was kept about each.

The same import again changes nothing: a peer is known by its public key, a config by its name and key.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from wgfleet.imports.fleet import ImportedInterface, ImportedPeer, ImportedTag
from wgfleet.imports.numbers import number
from wgfleet.panel import clock
from wgfleet.panel.domain import imports
from wgfleet.panel.domain.fields import one_spelling
from wgfleet.panel.domain.imports import PeerFate, PlannedPeer
from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.services import audit, configs, import_details, tunnel_networks
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import endpoint_groups, peers, tags
from wgfleet.panel.services.fleet.client_settings import ClientSettings
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.services.fleet.peer_details import PeerDetails
from wgfleet.panel.services.fleet.peers import MAX_BATCH, PeerDraft, PeerSpec
from wgfleet.panel.services.import_details import CarriedOver, ImportDetails
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import tags as tag_rows
from wgfleet.panel.store.tables import Config, Peer
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import parse_address, parse_interface_address
from wgfleet.protocol.keys import parse_preshared_key, parse_private_key, parse_public_key, public_key_of

if TYPE_CHECKING:
    from wgfleet.panel.services.fleet.tags import TagChanges

DEFAULT_KEEPALIVE_S = 25
DEFAULT_ALLOWED = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or would do. `remarks`: sentences about the whole."""

    config: Config
    created: bool
    peers: list[PlannedPeer]
    remarks: list[str]


def apply(
    tx: Tx,
    vault: Vault,
    actor: str,
    interface: ImportedInterface,
    *,
    name: str | None = None,
    tag_colors: Sequence[ImportedTag] = (),
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    may_own: bool = False,
) -> Imported:
    """Import an interface into the config `name` (None: that of its own name), which is made where there is none.

    `may_own`: peers become the devices of users that are called as their owners were.
    """
    if len(interface.peers) > MAX_BATCH:
        raise Invalid(f"an interface has at most {MAX_BATCH} peers, not {len(interface.peers)}", field="peers")
    _check_keys(interface)
    for i, address in enumerate(interface.addresses):
        parse_interface_address(address, f"addresses[{i}]")
    for i, peer in enumerate(interface.peers):
        for j, address in enumerate(peer.addresses):
            parse_address(address, f"peers[{i}].addresses[{j}]")
    config, created = _config(tx, vault, actor, interface, name or interface.name, panel_hosts)
    networks = configs.networks(tx, [config.id])[config.id]
    known = {row.public_key: row.name for row in peer_rows.of_config(tx, config.id)}
    found = imports.planned(interface, networks, set(known.values()), known)
    new = [each for each in found if each.fate is PeerFate.NEW]
    _make_tags(tx, actor, [tag for each in new for tag in each.peer.tags], tag_colors)
    details = ImportDetails(tx, may_own=may_own)
    carried = {each.peer.public_key: details.of(each.peer) for each in new}
    effects: list[str] = []
    if new:
        drafts = [_draft(vault, each, carried[each.peer.public_key], interface) for each in new]
        peers.create(tx, actor, config, drafts, field="peers", panel_hosts=panel_hosts)
        given = {draft.id: carried[draft.public_key] for draft in drafts}
        effects = import_details.give(tx, config.id, given, clock.now())
    counts = import_details.counted([*carried.values()])
    known_here = len(found) - len(new)
    audit.record(tx, actor, "imported", "config", config.id, name=config.name, new=len(new), same=known_here, **counts)
    told = [_with_details(each, carried) for each in found]
    return Imported(config, created, told, [*effects, *_remarks(interface, networks, created=created)])


def _with_details(each: PlannedPeer, carried: Mapping[str, CarriedOver]) -> PlannedPeer:
    """Return what becomes of a peer, with what is carried over and what is not."""
    if each.fate is not PeerFate.NEW:
        return each
    own = carried[each.peer.public_key]
    return dataclasses.replace(each, remarks=(*each.remarks, *own.missing), carried_over=own.said)


def _check_keys(interface: ImportedInterface) -> None:
    """Refuse keys that are none, and private keys of which the public key is another."""
    pairs = [("", interface.public_key, interface.private_key)]
    pairs += [(f"peers[{i}].", peer.public_key, peer.private_key) for i, peer in enumerate(interface.peers)]
    for at, public, private in pairs:
        if public is not None:
            parse_public_key(public, f"{at}public_key")
        key = None if private is None else parse_private_key(private, f"{at}private_key")
        if key is not None and public is not None and public_key_of(key) != public:
            raise Invalid("is not the key that belongs to the public key", field=f"{at}private_key")
    for i, peer in enumerate(interface.peers):
        if peer.preshared_key is not None:
            parse_preshared_key(peer.preshared_key, f"peers[{i}].preshared_key")


def _config(
    tx: Tx, vault: Vault, actor: str, interface: ImportedInterface, name: str, panel_hosts: Mapping[str, str]
) -> tuple[Config, bool]:
    existing = config_rows.find(tx, name)
    if existing is not None:
        if interface.public_key is not None and existing.public_key != interface.public_key:
            raise Conflict(
                f"config {name!r} has another key than the interface that is imported, so the files of its users would "
                "not work; import into a config of another name",
                field="config",
            )
        return existing, False
    if interface.private_key is None:
        raise Invalid(
            "the source has no private key of the server, without which its users' files stop working; read it from "
            "the server's own file",
            field="private_key",
        )
    spec = ConfigSpec(
        name=name,
        mode=configs.CLUSTER,
        pools=imports.pools(interface),
        listen_port=interface.listen_port,
        mtu=interface.mtu,
        dns=interface.dns,
        client_allowed_ips=interface.client_allowed_ips or DEFAULT_ALLOWED,
        keepalive=DEFAULT_KEEPALIVE_S if interface.keepalive is None else interface.keepalive,
        private_key=interface.private_key,
    )
    config = configs.create(tx, vault, actor, spec, panel_hosts=panel_hosts)
    if interface.endpoint is not None:
        endpoint_groups.put(tx, vault, actor, config, _endpoint(interface.endpoint))
    return config, True


def _endpoint(text: str) -> EndpointGroupSpec:
    """Return the endpoint that files of users say."""
    host, _, last = text.rpartition(":")
    port = number(last)
    if not host or port is None:
        raise Invalid("must be a host and a port, such as vpn.example.com:51820", field="endpoint")
    return EndpointGroupSpec(domain=host.strip("[]"), port=port)


def _draft(vault: Vault, planned: PlannedPeer, carried: CarriedOver, interface: ImportedInterface) -> PeerDraft:
    peer = planned.peer
    spec = PeerSpec(
        planned.name,
        public_key=peer.public_key,
        preshared_key=False,
        addresses=planned.addresses,
        networks=peer.networks,
        keepalive=peer.keepalive if peer.keepalive != interface.keepalive else None,
        enabled=peer.enabled,
        owner_id=carried.owner_id,
        details=PeerDetails(carried.notes, tuple(one_spelling(tag) for tag in peer.tags), _settings(peer, interface)),
    )
    (draft,) = peers.draft(vault, [spec])
    private, psk = peer.private_key, peer.preshared_key
    return dataclasses.replace(
        draft,
        private_key_sealed=sealed.seal(vault, Peer.private_key_sealed, draft.id, private) if private else None,
        preshared_key_sealed=sealed.seal(vault, Peer.preshared_key_sealed, draft.id, psk) if psk else None,
    )


def _settings(peer: ImportedPeer, interface: ImportedInterface) -> ClientSettings:
    """Return what the peer's file says and the config does not."""
    own = {
        "client_allowed_ips": (peer.client_allowed_ips, interface.client_allowed_ips or DEFAULT_ALLOWED),
        "dns": (peer.dns, interface.dns),
        "mtu": (peer.mtu, interface.mtu),
    }
    return cast("ClientSettings", {name: value for name, (value, said) in own.items() if value not in {None, said}})


def _make_tags(tx: Tx, actor: str, wanted: Sequence[str], colors: Sequence[ImportedTag]) -> None:
    by_name = {one_spelling(tag.name): tag.color for tag in colors}
    for name in dict.fromkeys(one_spelling(each) for each in wanted):
        if tag_rows.find(tx, name) is None:
            color = by_name.get(name)
            values: TagChanges = {"name": name}
            if color is not None:
                values["color"] = color
            tags.create(tx, actor, values)


def _remarks(interface: ImportedInterface, networks: Sequence[str], *, created: bool) -> list[str]:
    """Say what of an interface is not carried over."""
    said = imports.moved_server(interface, networks) if created else []
    if interface.public_key is None:
        said.append("the source does not have the server's key: files of users work only if the config's is the same")
    said += [f"a hook is not carried over: {hook}" for hook in interface.hooks]
    others = [peer for peer in interface.peers if peer.endpoint not in {None, interface.endpoint}]
    said += [
        f"the file of {peer.name or peer.public_key} says {peer.endpoint}, not the config's name" for peer in others
    ]
    return said
