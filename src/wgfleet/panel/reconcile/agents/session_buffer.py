"""Peer sessions from a node's watch stream, merged in memory and written in batches.

A new endpoint or handshake is written at the next flush, since a takeover needs it; bare counters wait longer, since
nothing is decided by them and each row written costs the one writer of SQLite.
"""

from collections.abc import Mapping

from wgfleet.panel import clock
from wgfleet.panel.store import Store
from wgfleet.panel.store import sessions as session_rows
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats

FLUSH_S = 1.0
COUNTERS_S = 30.0


class SessionBuffer:
    """The sessions of one node that are not in the rows yet. Use it from one thread; `write` may run in another."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._urgent: dict[str, dict[str, PeerStats]] = {}
        self._counters: dict[str, dict[str, PeerStats]] = {}
        self._known: dict[str, dict[str, tuple[str | None, int]]] = {}
        self._counters_due = 0.0

    def add(self, config_id: str, stats: Mapping[PublicKey, PeerStats], skew_s: float) -> None:
        """Take what a node reported. `skew_s` is the panel's clock less the node's; handshakes are kept in ours."""
        known = self._known.setdefault(config_id, {})
        urgent, counters = self._urgent.setdefault(config_id, {}), self._counters.setdefault(config_id, {})
        for key, seen in stats.items():
            handshake = round(seen.latest_handshake + skew_s) if seen.latest_handshake else 0
            ours = PeerStats(endpoint=seen.endpoint, latest_handshake=handshake, rx=seen.rx, tx=seen.tx)
            # The node's own time is compared: ours moves by the rounding of the skew.
            mark = (seen.endpoint, seen.latest_handshake)
            if known.get(key) != mark:
                known[key] = mark
                urgent[key] = ours
                counters.pop(key, None)
            elif key in urgent:
                urgent[key] = ours
            else:
                counters[key] = ours

    def forget(self, config_id: str) -> None:
        """Drop a config that the node no longer carries."""
        for kept in (self._urgent, self._counters, self._known):
            kept.pop(config_id, None)

    def take(self) -> dict[str, dict[str, PeerStats]]:
        """Return what is due for writing, and forget it."""
        due, self._urgent = self._urgent, {}
        now = clock.monotonic()
        if now >= self._counters_due:
            self._counters_due = now + COUNTERS_S
            for config_id, stats in self._counters.items():
                merged = due.setdefault(config_id, {})
                for key, seen in stats.items():
                    merged.setdefault(key, seen)
            self._counters = {}
        return {config_id: stats for config_id, stats in due.items() if stats}

    def give_back(self, due: Mapping[str, Mapping[str, PeerStats]]) -> None:
        """Take back what could not be written; what arrived meanwhile is newer and wins."""
        for config_id, stats in due.items():
            self._urgent[config_id] = {**stats, **self._urgent.get(config_id, {})}

    def write(self, store: Store, due: Mapping[str, Mapping[str, PeerStats]]) -> None:
        """Write a batch."""
        seen_at = clock.now()
        with store.write() as tx:
            for config_id, stats in due.items():
                session_rows.record(tx, self._node_id, config_id, stats, seen_at)
