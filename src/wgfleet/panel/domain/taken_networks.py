"""Networks that have an owner each, and no address in common: whether one more is free, without asking each of them.

Pure.
"""

import ipaddress
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple


class TakenNetwork(NamedTuple):
    """A network and what it belongs to, as words for people. Sorts by its first address."""

    first: int
    last: int
    network: str
    owner: str


class TakenNetworks:
    """Disjoint networks of both versions. To take one, or to find what is in its way, costs O(log n)."""

    def __init__(self, taken: Iterable[tuple[str, str]] = ()) -> None:
        """Begin with (network, owner) pairs; of two that overlap, the first is kept."""
        self._by_version: defaultdict[int, list[TakenNetwork]] = defaultdict(list)
        for network, owner in taken:
            self.take(ipaddress.ip_network(network), owner)

    def __len__(self) -> int:
        return sum(len(taken) for taken in self._by_version.values())

    def take(self, network: IPv4Network | IPv6Network, owner: str) -> TakenNetwork | None:
        """Give a free network to an owner and return None; or return what overlaps it, and change nothing."""
        other = self.overlapping(network)
        if other is None:
            first, last = int(network.network_address), int(network.broadcast_address)
            insort(self._by_version[network.version], TakenNetwork(first, last, str(network), owner))
        return other

    def overlapping(self, network: IPv4Network | IPv6Network) -> TakenNetwork | None:
        """Return one that has an address in common with a network; None where it is free."""
        taken = self._by_version[network.version]
        # Those that are there are disjoint, so only the last one that begins before our end can reach into us.
        before = bisect_right(taken, int(network.broadcast_address), key=lambda other: other.first)
        if before and taken[before - 1].last >= int(network.network_address):
            return taken[before - 1]
        return None

    def release(self, network: IPv4Network | IPv6Network, owner: str) -> None:
        """Have a network be free again, if that owner has it."""
        taken = self._by_version[network.version]
        given = TakenNetwork(int(network.network_address), int(network.broadcast_address), str(network), owner)
        place = bisect_left(taken, given)
        if place < len(taken) and taken[place] == given:
            del taken[place]
