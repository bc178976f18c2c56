"""Arithmetic of address pools. Networks and addresses are canonical text; `offset` counts from the network address.

Pure. Must not know which addresses are in use.
"""

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from wgfleet.protocol.reasons import Reason

MAX_OFFSET = 2**62
"""No address beyond is given out: an offset fits 64 bits in the database, and no one has that many peers."""

_IPV4 = 4
_POINT_TO_POINT = 2  # addresses in a /31 (RFC 3021) or a /127 (RFC 6164)


class _Network(NamedTuple):
    version: int
    base: int
    size: int


@lru_cache(maxsize=4096)
def _parsed(network: str) -> _Network:
    value = ipaddress.ip_network(network)
    return _Network(value.version, int(value.network_address), value.num_addresses)


def _first_host(network: str) -> int:
    # The network address itself is no host's: RFC 1122, section 3.2.1.3, and for IPv6 RFC 4291, section 2.6.1.
    return 1 if _parsed(network).size > _POINT_TO_POINT else 0


def _format(version: int, number: int) -> str:
    """Print an address as inet_ntop(3) does, which is how `wg` and the kernel print it."""
    if version == _IPV4:
        return socket.inet_ntop(socket.AF_INET, number.to_bytes(4))
    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16))


def gateway(network: str, server: str | None = None) -> str:
    """Return the node's own address, which no peer gets: the one that was chosen, or the first host's."""
    if server is not None:
        return server
    parsed = _parsed(network)
    return _format(parsed.version, parsed.base + _first_host(network))


def interface_address(network: str, server: str | None = None) -> str:
    """Return the node's own address with the length of the network, as interfaces have it."""
    return f"{gateway(network, server)}/{network.rpartition('/')[2]}"


def gateway_offset(network: str, server: str | None = None) -> int:
    """Return the offset of the node's own address."""
    if server is None:
        return _first_host(network)
    return int(ipaddress.ip_address(server)) - _parsed(network).base


def first_offset(network: str, server: str | None = None) -> int:
    """Return the offset of the first address that a peer may have."""
    first = _first_host(network)
    return first + 1 if gateway_offset(network, server) == first else first


def last_offset(network: str) -> int:
    """Return the offset of the last address of a host that is given out; less than `first_offset` without one."""
    version, _, size = _parsed(network)
    broadcast = 1 if version == _IPV4 and size > _POINT_TO_POINT else 0
    return min(size - 1 - broadcast, MAX_OFFSET)


def capacity(network: str) -> int:
    """Return how many peers the network has addresses for."""
    return max(0, last_offset(network) - _first_host(network))


def address_at(network: str, offset: int) -> str:
    """Return the address at an offset."""
    parsed = _parsed(network)
    return _format(parsed.version, parsed.base + offset)


def server_address(network: str, address: str) -> str | None:
    """Return the node's own address as pools keep it: None for the first host's; `ValueError` where it is no host's."""
    version, base, size = _parsed(network)
    value = ipaddress.ip_address(address)
    offset = int(value) - base
    if value.version != version or not 0 <= offset < size:
        raise ValueError(Reason("{address} is not in the pool {network}", address=address, network=network))
    _check_host(network, address, offset)
    return None if offset == _first_host(network) else _format(version, int(value))


def is_host(network: str, address: str) -> bool:
    """Tell whether an address is one that a host of the network may have."""
    try:
        server_address(network, address)
    except ValueError:
        return False
    return True


def _check_host(network: str, address: str, offset: int) -> None:
    """Raise `ValueError` for the addresses at the ends of a network, which no host has."""
    version, _, size = _parsed(network)
    if offset < _first_host(network):
        raise ValueError(
            Reason(
                "{address} is the network address of the pool {network}; use another", address=address, network=network
            )
        )
    if version == _IPV4 and size > _POINT_TO_POINT and offset == size - 1:
        raise ValueError(
            Reason(
                "{address} is the broadcast address of the pool {network}; use another",
                address=address,
                network=network,
            )
        )


def offset_of(network: str, address: str, server: str | None = None) -> int:
    """Return the offset of an address that a peer may have; `ValueError` says why it may not."""
    version, base, size = _parsed(network)
    value = ipaddress.ip_address(address)
    offset = int(value) - base
    if value.version != version or not 0 <= offset < size:
        raise ValueError(Reason("{address} is not in the pool {network}", address=address, network=network))
    if offset == gateway_offset(network, server):
        raise ValueError(
            Reason(
                "{address} is the node's own address in the pool {network}; use another",
                address=address,
                network=network,
            )
        )
    _check_host(network, address, offset)
    if offset > MAX_OFFSET:
        raise ValueError(
            Reason(
                "{address} is too far up in the pool {network}: the last usable one is {last}",
                address=address,
                network=network,
                last=_last(network),
            )
        )
    return offset


def inside(network: str, addresses: Iterable[str]) -> list[str]:
    """Return those of some addresses that lie in a network."""
    version, base, size = _parsed(network)
    of_version = (each for each in addresses if (":" in each) is (version != _IPV4))
    return [each for each in of_version if 0 <= int(ipaddress.ip_address(each)) - base < size]


def _last(network: str) -> str:
    return address_at(network, last_offset(network))


def slices(network: str, prefix_length: int) -> Iterator[str]:
    """Yield the networks of `prefix_length` bits that the network consists of, in order, each when it is asked for.

    `ValueError` where `prefix_length` is shorter than that of the network, or longer than an address.
    """
    value = ipaddress.ip_network(network)
    if not value.prefixlen <= prefix_length <= value.max_prefixlen:
        raise ValueError(
            Reason(
                "{network} cannot be cut into /{prefix_length}: use /{prefixlen} to /{max_prefixlen}",
                network=network,
                prefix_length=prefix_length,
                prefixlen=value.prefixlen,
                max_prefixlen=value.max_prefixlen,
            )
        )
    version, base, size = _parsed(network)
    step = 1 << (value.max_prefixlen - prefix_length)
    return (f"{_format(version, base + offset)}/{prefix_length}" for offset in _steps(size, step))


def _steps(size: int, step: int) -> Iterator[int]:
    # Not range(): a slice count may be beyond what C loops take, and islice() over it then fails.
    offset = 0
    while offset < size:
        yield offset
        offset += step


def contains(network: str, other: str) -> bool:
    """Say whether `other` lies within `network`, or is the same."""
    outer, inner = _parsed(network), _parsed(other)
    return (
        outer.version == inner.version
        and outer.base <= inner.base
        and inner.base + inner.size <= outer.base + outer.size
    )


def overlaps(first: str, second: str) -> bool:
    """Say whether two networks have an address in common."""
    return contains(first, second) or contains(second, first)


def order(network: str) -> tuple[int, int]:
    """Return what to sort networks by: IPv4 before IPv6, low before high."""
    parsed = _parsed(network)
    return parsed.version, parsed.base
