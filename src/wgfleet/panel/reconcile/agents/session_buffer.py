"""Peer sessions from a node's watch stream, merged in memory and written in batches.

A new endpoint or handshake is written at the next flush, since a takeover needs it; bare counters wait longer, since
nothing is decided by them and each row written costs the one writer of SQLite.
"""

from collections.abc import Mapping
from typing import NamedTuple

from wgfleet.panel import clock
from wgfleet.panel.store import Store
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.protocol.addresses import parse_endpoint
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats

COUNTERS_S = 30.0
MAX_KNOWN = 200_000  # peers of one node, of all its configs; beyond that its word takes up no more memory


class _Mark(NamedTuple):
    """What is known of a peer: its endpoint and its handshake, each as the node says it and as we keep it."""

    said: str | None
    endpoint: str | None
    handshake: int
    ours: int


class SessionBuffer:
    """The sessions of one node that are not in the rows yet. Use it from one thread; `write` may run in another."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._urgent: dict[str, dict[str, PeerStats]] = {}
        self._counters: dict[str, dict[str, PeerStats]] = {}
        self._known: dict[str, dict[str, _Mark]] = {}
        self._counters_due = 0.0

    def add(self, config_id: str, stats: Mapping[PublicKey, PeerStats], skew_s: float) -> None:
        """Take what a node reported. `skew_s`: `clock.steady` less the node's clock; handshakes are kept in ours.

        A handshake is not later than now, whatever the node's clock says. What is no endpoint is left out.
        """
        latest = clock.steady()
        known = self._known.setdefault(config_id, {})
        urgent, counters = self._urgent.setdefault(config_id, {}), self._counters.setdefault(config_id, {})
        room = MAX_KNOWN - sum(map(len, self._known.values()))
        for key, seen in stats.items():
            before = known.get(key)
            if before is None:
                room -= 1
                if room < 0:
                    continue
            if before is not None and before.handshake == seen.latest_handshake:
                # It is where it was also if the node's clock was set since.
                handshake = before.ours
            else:
                handshake = max(0, round(min(seen.latest_handshake + skew_s, latest))) if seen.latest_handshake else 0
            endpoint = before.endpoint if before is not None and before.said == seen.endpoint else _endpoint(seen)
            ours = PeerStats(endpoint=endpoint, latest_handshake=handshake, rx=seen.rx, tx=seen.tx)
            mark = _Mark(seen.endpoint, endpoint, seen.latest_handshake, handshake)
            if before != mark:
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
            # From the second time on, each node has a moment of its own: after a start all begin at once.
            self._counters_due = now + COUNTERS_S * (1.0 if self._counters_due else clock.fraction())
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

    def write(self, store: Store, due: Mapping[str, Mapping[str, PeerStats]]) -> list[str]:
        """Write a batch; return the configs of which the node has no say, since it does not carry them."""
        reports = [NodeSessions(self._node_id, config_id, stats) for config_id, stats in due.items()]
        with store.write() as tx:
            return [each.config_id for each in session_rows.record(tx, reports, clock.steady())]


def _endpoint(seen: PeerStats) -> str | None:
    """Return the endpoint as others can be asked to call it; None where it is none."""
    if seen.endpoint is None:
        return None
    try:
        return parse_endpoint(seen.endpoint)
    except FieldError:
        return None
