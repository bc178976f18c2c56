"""Renderings of rows: what an agent gets, and what a user downloads.

Both texts are stock WireGuard: nothing in them needs wgfleet on the other side.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from wgfleet.panel.domain.client_settings import EVERYTHING, without
from wgfleet.panel.domain.held_settings import NOTHING_HELD, HeldSettings
from wgfleet.protocol.addresses import host_network, join_endpoint
from wgfleet.protocol.backbone import Backbone
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, FloatingSettings, InterfaceSettings, MuteSettings
from wgfleet.protocol.destinations import RuleSet
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PresharedKey, PrivateKey, PublicKey
from wgfleet.protocol.reach import Reach
from wgfleet.qr_code import PLACEHOLDER


@dataclass(frozen=True, slots=True)
class NetworkValues:
    """What an interface of a config is made of, on any one node.

    `addresses` are the node's own in the pools served there, with the lengths of these; `dns` the servers of users, of
    which the node itself may be one.
    """

    name: str
    config_id: str
    private_key: str
    listen_port: int
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    mtu: int | None
    masquerade: bool
    enabled: bool
    reach: Reach
    dns: tuple[str, ...] = ()
    floating: FloatingSettings | None = None
    mute: MuteSettings | None = None
    backbone: Backbone | None = None
    rule_sets: tuple[RuleSet, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientValues:
    """What a user's file is made of. `endpoint` is `HOST:PORT`; `private_key` None: the user has it."""

    title: str
    private_key: str | None
    addresses: tuple[str, ...]
    dns: tuple[str, ...]
    mtu: int | None
    server_public_key: str
    preshared_key: str | None
    allowed_ips: tuple[str, ...]
    endpoint: str
    keepalive: int


def settings(values: NetworkValues) -> InterfaceSettings:
    """Render an interface."""
    return InterfaceSettings(
        name=InterfaceName(values.name),
        config_id=ConfigId(values.config_id),
        private_key=PrivateKey(values.private_key),
        listen_port=values.listen_port,
        addresses=values.addresses,
        routes=values.routes,
        mtu=values.mtu,
        masquerade=values.masquerade,
        enabled=values.enabled,
        floating=values.floating,
        reach=_reach(values, {address.partition("/")[0] for address in values.addresses}),
        mute=values.mute,
        backbone=values.backbone,
        rule_sets=values.rule_sets,
    )


def _reach(values: NetworkValues, own: set[str]) -> Reach:
    """Open a node's name service to users whose files name it."""
    if own.isdisjoint(values.dns):
        return values.reach
    ports = dict.fromkeys((*values.reach.node_ports, "tcp/53", "udp/53"))
    return msgspec.structs.replace(values.reach, node_ports=tuple(ports))


def peer(
    addresses: Iterable[str],
    networks: Iterable[str],
    preshared_key: str | None,
    held: HeldSettings = NOTHING_HELD,
) -> DesiredPeer:
    """Render a peer for a node. A node sends no keepalives: the client's own keep its NAT open."""
    allowed = (*(host_network(address) for address in addresses), *networks)
    return DesiredPeer(
        allowed_ips=allowed,
        preshared_key=PresharedKey(preshared_key) if preshared_key else None,
        download=held.download_speed or 0,
        upload=held.upload_speed or 0,
        rule_set=held.rule_set or "",
    )


def allowed_in_file(allowed: Sequence[str], own: Sequence[str], pools: Sequence[str]) -> tuple[str, ...]:
    """Return what a peer's file routes into the tunnel: what the config allows, without the networks behind the peer.

    With one of those, a router would be cut off from its own network, or could not set the tunnel up. All of IPv4 or
    IPv6 stays whole, as its own network is nearer to a router. The pools, where nothing else is left.
    """
    everything = set(EVERYTHING.values())
    left = [
        part
        for each in allowed
        for part in without((each,), [network for network in own if each not in everything or network == each])
    ]
    return tuple(left) or tuple(pools)


def endpoint(host: str, port: int) -> str:
    """Form `HOST:PORT` for a file; IPv6 addresses get brackets."""
    return join_endpoint(host, port)


def client_file(values: ClientValues) -> str:
    """Render the file that `wg-quick` and every WireGuard app import."""
    lines = [f"# {values.title}", "[Interface]"]
    if values.private_key is None:
        lines.append("# The panel never had this private key: put in the one that belongs to your public key.")
    lines.append(f"PrivateKey = {values.private_key or PLACEHOLDER}")
    lines.append(f"Address = {', '.join(host_network(address) for address in values.addresses)}")
    if values.dns:
        lines.append(f"DNS = {', '.join(values.dns)}")
    if values.mtu is not None:
        lines.append(f"MTU = {values.mtu}")
    lines += ["", "[Peer]", f"PublicKey = {values.server_public_key}"]
    if values.preshared_key:
        lines.append(f"PresharedKey = {values.preshared_key}")
    lines.append(f"AllowedIPs = {', '.join(values.allowed_ips)}")
    lines.append(f"Endpoint = {values.endpoint}")
    if values.keepalive:
        lines.append(f"PersistentKeepalive = {values.keepalive}")
    return "\n".join(lines) + "\n"


def backup_file(interface: DesiredInterface, names: dict[PublicKey, str], notes: Sequence[str]) -> str:
    """Render an interface with its peers in the form that `wg-quick` reads, names and notes as comments."""
    wanted = interface.settings
    lines = [*(f"# {note}" for note in notes), "[Interface]", f"PrivateKey = {wanted.private_key}"]
    lines.append(f"ListenPort = {wanted.listen_port}")
    if wanted.addresses:
        lines.append(f"Address = {', '.join(wanted.addresses)}")
    if wanted.mtu is not None:
        lines.append(f"MTU = {wanted.mtu}")
    for key, desired in interface.peers.items():
        lines += ["", f"# {names.get(key, 'unnamed')}", "[Peer]", f"PublicKey = {key}"]
        if desired.preshared_key:
            lines.append(f"PresharedKey = {desired.preshared_key}")
        lines.append(f"AllowedIPs = {', '.join(desired.allowed_ips)}")
        if desired.persistent_keepalive:
            lines.append(f"PersistentKeepalive = {desired.persistent_keepalive}")
    return "\n".join(lines) + "\n"
