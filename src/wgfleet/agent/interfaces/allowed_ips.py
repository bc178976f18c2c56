"""Index of allowed IPs: which peer of an interface has which network, so that a delta is checked by itself. Pure.

If two peers have the same network, WireGuard silently gives it to the last one only.
"""

from collections.abc import Iterable, Mapping

from wgfleet.protocol.desired import DesiredPeer, InterfaceDelta
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PublicKey


class AllowedIpIndex:
    """The allowed IPs of one interface's peers, each with its peer."""

    def __init__(self, peers: Mapping[PublicKey, DesiredPeer]) -> None:
        self._peer_with: dict[str, PublicKey] = {}
        self._add(peers.items())

    def has(self, network: str) -> bool:
        """Whether a peer has exactly this network."""
        return network in self._peer_with

    def check(self, delta: InterfaceDelta) -> None:
        """Raise `FieldError` if a peer of `delta` wants a network of a peer that `delta` leaves alone.

        `parse_push` compares the peers within `delta`. The time depends on the size of the delta alone.
        """
        removed = frozenset(delta.remove)
        for key, peer in delta.upsert.items():
            for network in peer.allowed_ips:
                holder = self._peer_with.get(network, key)
                if holder not in removed and holder not in delta.upsert:
                    raise FieldError(
                        f"upsert.{key}.allowed_ips",
                        f"{network} is already an allowed IP of peer {holder}; remove or change that one as well",
                    )

    def apply(self, delta: InterfaceDelta, before: Mapping[PublicKey, DesiredPeer]) -> None:
        """Follow a delta that was applied to the peers `before`."""
        for key in (*delta.remove, *delta.upsert):
            peer = before.get(key)
            for network in () if peer is None else peer.allowed_ips:
                if self._peer_with.get(network) == key:
                    del self._peer_with[network]
        self._add(delta.upsert.items())

    def _add(self, peers: Iterable[tuple[PublicKey, DesiredPeer]]) -> None:
        for key, peer in peers:
            for network in peer.allowed_ips:
                self._peer_with[network] = key
