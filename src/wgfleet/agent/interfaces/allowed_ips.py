"""Which peer of an interface holds which network, so that a delta of one peer is checked without looking at all. Pure.

WireGuard gives a network that two peers hold to the last one only, without a word.
"""

from collections.abc import Iterable, Mapping

from wgfleet.protocol.desired import DesiredPeer, InterfaceDelta
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PublicKey


class Holders:
    """The allowed IPs of one interface's peers, each with its holder."""

    def __init__(self, peers: Mapping[PublicKey, DesiredPeer]) -> None:
        self._peer_with: dict[str, PublicKey] = {}
        self._add(peers.items())

    def check(self, delta: InterfaceDelta) -> None:
        """Raise `FieldError` if a peer of `delta` wants what a peer that it leaves alone holds.

        Two peers within `delta` are `parse_push`'s to compare. Takes time by the size of the delta alone.
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

    def move_on(self, delta: InterfaceDelta, before: Mapping[PublicKey, DesiredPeer]) -> None:
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
