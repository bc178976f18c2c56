"""Hypothesis strategies for desired and observed interfaces, in the forms that the parsers accept."""

import base64
import ipaddress
import socket

from hypothesis import strategies as st

from wgfleet.protocol.desired import (
    MAX_MTU,
    MIN_IPV6_MTU,
    DesiredInterface,
    DesiredPeer,
    FloatingSettings,
    InterfaceSettings,
)
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PresharedKey, PrivateKey, PublicKey
from wgfleet.protocol.reach import Reach

raw_keys = st.binary(min_size=32, max_size=32)


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def clamp(raw: bytes) -> bytes:
    """RFC 7748, section 5."""
    return bytes([raw[0] & 0b11111000, *raw[1:31], raw[31] & 0b00111111 | 0b01000000])


def canonical(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return socket.inet_ntop(socket.AF_INET if address.version == 4 else socket.AF_INET6, address.packed)


public_keys = raw_keys.map(lambda raw: PublicKey(text(raw)))
private_keys = raw_keys.map(lambda raw: PrivateKey(text(clamp(raw))))
preshared_keys = raw_keys.filter(any).map(lambda raw: PresharedKey(text(raw)))

addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@st.composite
def networks(draw: st.DrawFn) -> str:
    address = draw(addresses)
    prefix = draw(st.sampled_from([address.max_prefixlen, *range(address.max_prefixlen)]))
    network = ipaddress.ip_network((address.packed, prefix), strict=False)
    return f"{canonical(network.network_address)}/{prefix}"


@st.composite
def interface_addresses(draw: st.DrawFn) -> str:
    address = draw(addresses.filter(lambda address: not address.is_link_local))
    return f"{canonical(address)}/{draw(st.integers(0, address.max_prefixlen))}"


# Few values each, so that two interfaces drawn one after the other have things in common.
_FEW_KEYS = [PublicKey(text(bytes([i]) * 32)) for i in range(1, 7)]
_FEW_NETWORKS = ["10.8.0.2/32", "10.8.0.3/32", "10.9.0.0/24", "fd00::2/128", "fd00::3/128", "0.0.0.0/0", "::/0"]
_FEW_ADDRESSES = ["10.8.0.1/24", "10.8.1.1/24", "fd00::1/64", "fd01::1/64"]
_FEW_PRIVATE_KEYS = [PrivateKey(text(clamp(bytes([i]) * 32))) for i in (1, 2)]
_FEW_PRESHARED_KEYS = [PresharedKey(text(bytes([i]) * 32)) for i in (13, 14)]


@st.composite
def peer_sets(draw: st.DrawFn) -> dict[PublicKey, DesiredPeer]:
    """Peers of which no two hold the same network."""
    keys = draw(st.lists(st.sampled_from(_FEW_KEYS), unique=True))
    holders = [draw(st.sampled_from([*keys, None])) for _ in _FEW_NETWORKS] if keys else []
    return {
        key: DesiredPeer(
            allowed_ips=tuple(n for n, holder in zip(_FEW_NETWORKS, holders, strict=True) if holder == key),
            preshared_key=draw(st.sampled_from([None, *_FEW_PRESHARED_KEYS])),
            persistent_keepalive=draw(st.sampled_from([0, 25])),
            download=draw(st.sampled_from([0, 1_000_000])),
        )
        for key in keys
    }


def settings_of(name: str = "wg0") -> st.SearchStrategy[InterfaceSettings]:
    return st.builds(
        InterfaceSettings,
        name=st.just(InterfaceName(name)),
        config_id=st.just(ConfigId("config")),
        private_key=st.sampled_from(_FEW_PRIVATE_KEYS),
        listen_port=st.sampled_from([51820, 51821]),
        addresses=st.lists(st.sampled_from(_FEW_ADDRESSES), unique=True).map(tuple),
        routes=st.lists(st.sampled_from(["10.20.0.0/16", "fd20::/64"]), unique=True).map(tuple),
        mtu=st.sampled_from([None, MIN_IPV6_MTU, 1420, MAX_MTU]),
        masquerade=st.booleans(),
        enabled=st.booleans(),
        floating=st.none() | floats(),
        reach=st.none() | st.builds(Reach, node_ports=st.sampled_from([(), ("udp/53",)])),
    )


def floats() -> st.SearchStrategy[FloatingSettings]:
    return st.builds(
        FloatingSettings,
        addresses=st.lists(st.sampled_from(["198.18.0.100", "2001:db8::100"]), unique=True).map(tuple),
        witnesses=st.just(("198.18.0.2:51820",)),
        probe_key=st.sampled_from(_FEW_PRIVATE_KEYS),
        give_up_after_s=st.sampled_from([1.0, 3.0]),
    )


def desired_interfaces(generation: int = 1) -> st.SearchStrategy[DesiredInterface]:
    return st.builds(
        DesiredInterface, generation=st.just(Generation(generation)), settings=settings_of(), peers=peer_sets()
    )
