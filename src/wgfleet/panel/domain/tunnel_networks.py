"""Limits of networks that lead into the tunnel: no special ranges, no addresses of nodes and panel. Pure.

A node routes every pool and every network behind a peer into WireGuard. One that contains an address of a node or of
the panel cuts them off from each other, on all nodes at once.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from wgfleet.protocol.reasons import Reason

SPECIAL = tuple(
    (ip_network(network), words)
    for network, words in (
        ("0.0.0.0/8", Reason('"this network"')),
        ("127.0.0.0/8", Reason("loopback")),
        ("169.254.0.0/16", Reason("link-local addresses")),
        ("224.0.0.0/4", Reason("multicast")),
        ("255.255.255.255/32", Reason("broadcast")),
        ("::/128", Reason("the unspecified address")),
        ("::1/128", Reason("loopback")),
        ("::ffff:0:0/96", Reason("IPv4 addresses in IPv6 form")),
        ("::/96", Reason("IPv4 addresses in IPv6 form")),
        ("::ffff:0:0:0/96", Reason("IPv4 addresses in IPv6 form")),
        ("100::/64", Reason("addresses that nobody has")),
        ("fe80::/10", Reason("link-local addresses")),
        ("ff00::/8", Reason("multicast")),
    )
)
"""Ranges that are never behind a peer (IANA's special-purpose registries), with words for people."""


TRANSLATED = ip_network("64:ff9b::/96")
"""IPv4 addresses as devices in networks without IPv4 have them (RFC 6052), nodes' own among them."""


def special_range(network: IPv4Network | IPv6Network) -> str | None:
    """Describe the special range that a network overlaps; None where there is none."""
    for special, words in SPECIAL:
        if special.version == network.version and network.overlaps(special):
            return Reason("{special}, {words}", special=special, words=words)
    return None


PRIVATE = tuple(
    (ip_network(network), words)
    for network, words in (
        ("10.0.0.0/8", Reason("private addresses")),
        ("172.16.0.0/12", Reason("private addresses")),
        ("192.168.0.0/16", Reason("private addresses")),
        ("100.64.0.0/10", Reason("addresses within a provider's network")),
        ("240.0.0.0/4", Reason("addresses that nobody has")),
        ("64:ff9b::/96", Reason("translated addresses, of one network alone")),
        ("64:ff9b:1::/48", Reason("translated addresses, of one network alone")),
        ("fc00::/7", Reason("private addresses")),
        ("fec0::/10", Reason("private addresses")),
    )
)
"""Ranges that are reached from within one network only: of an intranet or a lab, with words for people."""
UNROUTED = tuple(
    ip_network(network)
    for network in ("192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24")
) + tuple(ip_network(network) for network in ("2001:db8::/32", "3fff::/20", "5f00::/16"))
"""Ranges for documentation and measurements, whose addresses nobody on the internet has."""
INTERNET6 = ip_network("2000::/3")


def private_range(network: IPv4Network | IPv6Network) -> str | None:
    """Describe the range of one network, not of the internet, that a network is in; None: it is in none."""
    for private, words in PRIVATE:
        if private.version == network.version and network.subnet_of(private):  # type: ignore[arg-type]  # of one version
            return Reason("{special}, {words}", special=private, words=words)
    return None


def is_of_the_internet(network: IPv4Network | IPv6Network) -> bool:
    """Tell whether a network has addresses of machines on the internet."""
    if network.version == INTERNET6.version and not network.overlaps(INTERNET6):
        return False
    others = (*(private for private, _ in PRIVATE), *UNROUTED)
    return not any(other.version == network.version and network.subnet_of(other) for other in others)  # type: ignore[arg-type]  # of one version


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
