"""Drawn peers: their packets come to this node while it calls them, before it is known whether they answer. Pure.

What the old node goes on sending would turn a peer's endpoint back there, and what the peer then sends under its new
keys would be lost. So the packets wait here, in WireGuard, which has room for 128 of each peer; not for long, and not
again soon for one that did not answer. Times are s of the monotonic clock.
"""

from collections.abc import Iterable

from wgfleet.agent.interfaces.whereabouts import Whereabouts

WAIT_S = 0.25  # those that nobody can call lose what is sent to them meanwhile
# Who is behind NAT stays there for days. One who was spared by mistake, as his answer got lost, may lose one packet or
# two when he is called again, and is drawn as before once he has answered.
SPARED_S = 86_400.0


class DrawnPeers:
    """Which peers are drawn, until when, and which are not to be."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}
        self._networks: dict[bytes, tuple[str, ...]] = {}
        self._spared: dict[bytes, float] = {}

    def may(self, where: Whereabouts, key: bytes, now: float) -> bool:
        """Tell whether a peer may be drawn here: one that another node has, and that did not fail to answer lately."""
        claim = where.claim(key)
        return claim is not None and claim.number != where.number and now >= self._spared.get(key, float("-inf"))

    def draw(self, key: bytes, networks: tuple[str, ...], now: float) -> None:
        """Note that a peer with some networks is drawn here."""
        self._until[key], self._networks[key] = now + WAIT_S, networks

    def without(self, networks: Iterable[str]) -> list[str]:
        """Leave out the networks of those that are drawn here and have not answered."""
        drawn = {network for each in self._networks.values() for network in each}
        return [network for network in networks if network not in drawn]

    def answered(self, key: bytes) -> bool:
        """Note that a peer has its session here; tell whether it was drawn here."""
        self._until.pop(key, None)
        self._spared.pop(key, None)
        return self._networks.pop(key, None) is not None

    def give_back(self, keys: Iterable[bytes], now: float, *, at_once: bool) -> list[bytes]:
        """Return those that have not answered in time, or at all, and draw them no more."""
        found = [key for key in keys if key in self._until and (at_once or now >= self._until[key])]
        if found:
            self._spared = {key: until for key, until in self._spared.items() if until > now}
        for key in found:
            del self._until[key], self._networks[key]
            self._spared[key] = now + SPARED_S
        return found
