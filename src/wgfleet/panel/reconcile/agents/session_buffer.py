"""Peer sessions from a node's watch stream, merged in memory and written in batches.

A new endpoint or handshake is written at the next flush, since a takeover needs it; bare counters wait longer, since
nothing is decided by them and each row written costs the one writer of SQLite.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

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


@dataclass(slots=True)
class _Known:
    """What is known of a peer: the last that its node said, and of that its endpoint and handshake as we keep them."""

    seen: PeerStats
    endpoint: str | None
    handshake: int

    def ours(self) -> PeerStats:
        seen = self.seen
        return PeerStats(endpoint=self.endpoint, latest_handshake=self.handshake, rx=seen.rx, tx=seen.tx)


@dataclass(slots=True)
class _Sessions:
    """The peers of one config, and which of them have news that is not in the rows: of their session, or counters."""

    known: dict[str, _Known] = field(default_factory=dict)
    urgent: set[str] = field(default_factory=set)
    counted: set[str] = field(default_factory=set)


class SessionBuffer:
    """The sessions of one node that are not in the rows yet. Use it from one thread; `write` may run in another."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._configs: dict[str, _Sessions] = {}
        self._counters_due = 0.0

    def add(self, config_id: str, stats: Mapping[PublicKey, PeerStats], skew_s: float) -> None:
        """Take what a node reported. `skew_s`: `clock.steady` less the node's clock; handshakes are kept in ours.

        A handshake is not later than now, whatever the node's clock says. What is no endpoint is left out.
        """
        sessions = self._configs.get(config_id) or _Sessions()
        known, counted = sessions.known.get, sessions.counted.add
        moved = []
        for key, seen in stats.items():  # most only count on, and cost no more than this
            before = known(key)
            if before is None:
                moved.append((key, seen))
                continue
            last = before.seen
            if last.latest_handshake == seen.latest_handshake and last.endpoint == seen.endpoint:
                # It is where it was also if the node's clock was set since.
                before.seen = seen
                counted(key)
            else:
                moved.append((key, seen))
        self._move(sessions, moved, skew_s)
        if sessions.known:
            self._configs[config_id] = sessions

    def _move(self, sessions: _Sessions, moved: list[tuple[PublicKey, PeerStats]], skew_s: float) -> None:
        latest = clock.steady()
        known = sessions.known
        room = MAX_KNOWN - sum(len(each.known) for each in self._configs.values()) if moved else 0
        for key, seen in moved:
            before = known.get(key)
            if before is None:
                room -= 1
                if room < 0 or not _may_be_key(key):
                    continue
            if before is not None and before.seen.latest_handshake == seen.latest_handshake:
                handshake = before.handshake
            else:
                handshake = max(0, round(min(seen.latest_handshake + skew_s, latest))) if seen.latest_handshake else 0
            same = before is not None and before.seen.endpoint == seen.endpoint
            endpoint = before.endpoint if before is not None and same else _endpoint(seen)
            known[key] = _Known(seen, endpoint, handshake)
            sessions.urgent.add(key)

    def forget(self, config_id: str) -> None:
        """Drop a config that the node no longer carries."""
        self._configs.pop(config_id, None)

    def take(self) -> dict[str, dict[str, PeerStats]]:
        """Return what is due for writing, and forget it."""
        now = clock.monotonic()
        counters = now >= self._counters_due
        if counters:
            # From the second time on, each node has a moment of its own: after a start all begin at once.
            self._counters_due = now + COUNTERS_S * (1.0 if self._counters_due else clock.fraction())
        due = {config_id: _due(sessions, counters=counters) for config_id, sessions in self._configs.items()}
        return {config_id: stats for config_id, stats in due.items() if stats}

    def give_back(self, due: Mapping[str, Mapping[str, PeerStats]]) -> None:
        """Take back what could not be written; what arrived meanwhile is newer and wins."""
        for config_id, stats in due.items():
            if (sessions := self._configs.get(config_id)) is not None:
                sessions.urgent.update(sessions.known.keys() & stats.keys())

    def write(self, store: Store, due: Mapping[str, Mapping[str, PeerStats]]) -> list[str]:
        """Write a batch; return the configs of which the node has no say, since it does not carry them."""
        reports = [NodeSessions(self._node_id, config_id, stats) for config_id, stats in due.items()]
        with store.write() as tx:
            return [each.config_id for each in session_rows.record(tx, reports, clock.steady())]


def _due(sessions: _Sessions, *, counters: bool) -> dict[str, PeerStats]:
    """Return what has news, and forget that it has."""
    known, urgent = sessions.known, sessions.urgent
    keys: Iterator[str] = iter(urgent)
    if counters:
        keys = chain(urgent, sessions.counted - urgent)
    elif urgent:
        sessions.counted -= urgent
    due = {key: known[key].ours() for key in keys}
    sessions.urgent = set()
    if counters:
        sessions.counted = set()
    return due


def _may_be_key(key: str) -> bool:
    """Tell whether it could be one of our peers' keys; PostgreSQL does not take everything that a text may have."""
    return key.isascii() and key.isprintable()


def _endpoint(seen: PeerStats) -> str | None:
    """Return the endpoint as others can be asked to call it; None where it is none."""
    if seen.endpoint is None:
        return None
    try:
        return parse_endpoint(seen.endpoint)
    except FieldError:
        return None
