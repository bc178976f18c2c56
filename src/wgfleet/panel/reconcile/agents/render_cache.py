"""A cache of renderings: the peers that were just rendered for one node of a cluster serve the others as well.

Holds secrets in memory for a short while, as the pushes themselves do. Safe to use by several threads.
"""

import threading
from collections.abc import Callable

from wgfleet.panel import clock
from wgfleet.panel.services.fleet.common_peers import CommonPeers, Key

KEPT_S = 10.0  # nodes of a cluster are woken together; one that comes later renders again
KEPT_PEERS = 250_000  # some 140 bytes each, of wholes
A_RENDERING = 100  # peers that each counts for at least


class RenderCache:
    """Some renderings, each made once however many nodes ask at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[Key, threading.Lock] = {}
        self._made: dict[Key, tuple[float, CommonPeers]] = {}

    def get(self, key: Key, render: Callable[[], CommonPeers]) -> CommonPeers:
        """Return the rendering of `key`, made by `render` unless it is at hand."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            try:
                return self._get(key, render)
            finally:
                with self._lock:
                    if self._making.get(key) is making:
                        del self._making[key]

    def _get(self, key: Key, render: Callable[[], CommonPeers]) -> CommonPeers:
        self.drop_old()
        with self._lock:
            kept = self._made.get(key)
        if kept is not None:
            return kept[1]
        made = render()
        with self._lock:
            self._made[key] = (clock.monotonic(), made)
        self.drop_old()
        return made

    def drop_old(self) -> None:
        """Drop those that were made long ago, and the oldest where they are more than may be kept."""
        oldest, room = clock.monotonic() - KEPT_S, KEPT_PEERS
        with self._lock:
            for key, (at, made) in reversed(list(self._made.items())):
                room -= max(len(made.upsert), A_RENDERING)
                if at < oldest or room < 0:
                    del self._made[key]
