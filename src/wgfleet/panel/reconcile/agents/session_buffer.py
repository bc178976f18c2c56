"""Peer sessions from a node's watch stream, merged in memory and written in batches.

A new endpoint or handshake is written at the next flush, since a takeover needs it; bare counters wait longer, since
nothing is decided by them and each row written costs the one writer of SQLite.
"""

from collections.abc import Iterable, Mapping

from wgfleet.panel import clock
from wgfleet.panel.reconcile.agents.session_table import SessionTable
from wgfleet.panel.reconcile.lateness import COUNTERS_S
from wgfleet.panel.store import Store
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats

MAX_KNOWN = 200_000  # peers of one node, of all its configs; beyond that its word takes up no more memory
SILENT_S = 3600.0  # a peer of which a node said nothing for so long is forgotten; its row stays


class SessionBuffer:
    """The sessions of one node that are not in the rows yet. Use it from one thread; `write` may run in another."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._configs: dict[str, SessionTable] = {}
        self._counted_at: float | None = None
        self._forget_at = clock.monotonic() + SILENT_S

    def add(self, config_id: str, stats: Mapping[PublicKey, PeerStats], skew_s: float) -> None:
        """Take what a node reported. `skew_s`: `clock.steady` less the node's clock; handshakes are kept in ours.

        A handshake is not later than now, whatever the node's clock says. What is no endpoint is left out.
        """
        table = self._configs.get(config_id) or SessionTable()
        table.add(stats, skew_s, self._room)
        if len(table):
            self._configs[config_id] = table

    def _room(self) -> int:
        return MAX_KNOWN - sum(map(len, self._configs.values()))

    def forget(self, config_id: str) -> None:
        """Drop a config that the node no longer carries."""
        self._configs.pop(config_id, None)

    def counters_are_due(self, every_s: float) -> bool:
        """Tell whether counters that are written so often are to be written now."""
        return self._counted_at is None or clock.monotonic() - self._counted_at >= every_s

    def take(self, counters_every_s: float | None = COUNTERS_S) -> dict[str, dict[str, PeerStats]]:
        """Return what is due for writing, and forget it; counters at their pace, None: not now."""
        now, counters = clock.monotonic(), False
        if counters_every_s is not None and self.counters_are_due(counters_every_s):
            counters = True
            # From the second time on, each node has a moment of its own: after a start all begin at once.
            early_s = 0.0 if self._counted_at is not None else counters_every_s * clock.fraction()
            self._counted_at = now - early_s
        due = {config_id: table.due(counters=counters) for config_id, table in self._configs.items()}
        if now >= self._forget_at:
            self._forget_at = now + SILENT_S
            for table in self._configs.values():
                table.forget_silent()
        return {config_id: stats for config_id, stats in due.items() if stats}

    def give_back(self, due: Mapping[str, Mapping[str, PeerStats]]) -> None:
        """Take back what could not be written; what arrived meanwhile is newer and wins."""
        for config_id, stats in due.items():
            if (table := self._configs.get(config_id)) is not None:
                table.give_back(stats.keys())

    def count_later(self, config_id: str, keys: Iterable[str]) -> None:
        """Take back peers whose rows are right but for their counters, which are written in their turn."""
        if (table := self._configs.get(config_id)) is not None:
            table.count_later(keys)

    def write(self, store: Store, due: Mapping[str, Mapping[str, PeerStats]]) -> list[str]:
        """Write a batch; return the configs of which the node has no say, since it does not carry them."""
        reports = [NodeSessions(self._node_id, config_id, stats) for config_id, stats in due.items()]
        with store.write() as tx:
            return [each.config_id for each in session_rows.record(tx, reports, clock.steady())]
