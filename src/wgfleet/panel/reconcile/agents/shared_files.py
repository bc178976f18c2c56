"""Files that several devices use: found in what nodes report of sessions, for configs that have a limit of devices."""

import threading
from collections.abc import Collection, Iterable

from wgfleet.panel.domain.jobs.devices import WINDOW_S, EndpointTurns
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.protocol.observed import PeerStats

MAX_KNOWN = 200_000  # peers; beyond that, those that are new are not looked at

Key = tuple[str, str]
"""Config and public key."""


class SharedFiles:
    """What nodes reported lately. Kept in memory: devices that take turns show again within seconds."""

    def __init__(self) -> None:
        self.configs: Collection[str] = ()
        """Those that have a limit of devices."""
        self._turns: dict[Key, EndpointTurns] = {}
        self._last: dict[tuple[str, str, str], PeerStats] = {}
        self._suspects: dict[Key, float] = {}
        self._cleared_at = 0.0
        self._lock = threading.Lock()  # threads write what nodes said, and others look

    def watches(self, config_ids: Iterable[str]) -> bool:
        """Tell whether it is looked at what peers of some of these do."""
        return bool(self.configs) and any(config_id in self.configs for config_id in config_ids)

    def note(self, said: Iterable[NodeSessions], at: float) -> None:
        """Take what nodes reported. What a node says of a peer that did nothing since is no sign of a device."""
        with self._lock:
            self._note(said, at)

    def _note(self, said: Iterable[NodeSessions], at: float) -> None:
        if not self.configs:
            self._turns.clear()
            self._last.clear()
            return
        for node_id, config_id, stats in said:
            if config_id in self.configs:
                for key, each in stats.items():
                    self._note_peer((config_id, key), node_id, each, at)
        if at - self._cleared_at > 2 * WINDOW_S:
            self._cleared_at = at
            self._turns.clear()

    def _note_peer(self, peer: Key, node_id: str, stats: PeerStats, at: float) -> None:
        before = self._last.get((node_id, *peer))
        self._last[node_id, *peer] = stats
        if len(self._last) > MAX_KNOWN:
            self._last.clear()
        if stats.endpoint is None or (before is not None and _same(before, stats)):
            return
        turns = self._turns.get(peer)
        if turns is None:
            turns = self._turns[peer] = EndpointTurns()
        turns.seen(stats.endpoint, at)
        if turns.devices(at) > 1:
            self._suspects[peer] = at

    def found(self, at: float) -> dict[Key, int]:
        """Return how many devices use each file that more than one did within the window."""
        with self._lock:
            self._suspects = {peer: since for peer, since in self._suspects.items() if at - since <= WINDOW_S}
            counts = {peer: self._turns[peer].devices(at) for peer in self._suspects if peer in self._turns}
        return {peer: count for peer, count in counts.items() if count > 1}


def _same(before: PeerStats, now: PeerStats) -> bool:
    return (before.endpoint, before.latest_handshake, before.rx) == (now.endpoint, now.latest_handshake, now.rx)
