"""Limits of networks that lead into the tunnel: no special ranges, no addresses of nodes and panel. Pure.

A node routes every pool and every network behind a peer into WireGuard. One that contains an address of a node or of
the panel cuts them off from each other, on all nodes at once.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

SPECIAL = tuple(
    (ip_network(network), words)
    for network, words in (
        ("0.0.0.0/8", '"this network"'),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local addresses"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("::/128", "the unspecified address"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4 addresses in IPv6 form"),
        ("fe80::/10", "link-local addresses"),
        ("ff00::/8", "multicast"),
    )
)
"""Ranges that are never behind a peer (IANA's special-purpose registries), with words for people."""


def special_range(network: IPv4Network | IPv6Network) -> str | None:
    """Describe the special range that a network overlaps; None where there is none."""
    for special, words in SPECIAL:
        if special.version == network.version and network.overlaps(special):
            return f"{special}, {words}"
    return None


class NeededAddresses:
    """Addresses that have to stay outside of the tunnel, each with its owner in words. A search costs O(log n)."""

    def __init__(self, owners: Mapping[str, str]) -> None:
        by_version: defaultdict[int, list[tuple[int, str, str]]] = defaultdict(list)
        for text, owner in owners.items():
            address = ip_address(text)
            by_version[address.version].append((int(address), text, owner))
        self._by_version = {version: sorted(found) for version, found in by_version.items()}

    def inside(self, network: IPv4Network | IPv6Network) -> tuple[str, str] | None:
        """Return the first (address, owner) in a network; None where there is none."""
        known = self._by_version.get(network.version, [])
        at = bisect_left(known, (int(network.network_address), "", ""))
        if at < len(known) and known[at][0] <= int(network.broadcast_address):
            return known[at][1:]
        return None
