"""A cache of renderings: what was just rendered for one node of a cluster serves the others, which get the same.

Holds secrets in memory for a short while, as the pushes themselves do. Safe to use by several threads.
"""

import threading
from collections.abc import Callable

from wgfleet.panel import clock
from wgfleet.protocol.desired import Push
from wgfleet.protocol.features import Feature

Key = tuple[str, int, int, frozenset[Feature]]
"""Config, base generation (0: the whole), generation, the agent's features: what is rendered for it never changes."""

KEPT_S = 10.0  # nodes of a cluster are woken together; one that comes later renders again
KEPT = 8


class RenderCache:
    """A few renderings, each made once however many nodes ask at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[Key, threading.Lock] = {}
        self._made: dict[Key, tuple[float, Push]] = {}

    def get(self, key: Key, render: Callable[[], Push]) -> Push:
        """Return the rendering of `key`, made by `render` unless it is at hand."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                self._drop_old()
                kept = self._made.get(key)
            if kept is not None:
                return kept[1]
            push = render()
            with self._lock:
                self._made[key] = (clock.monotonic(), push)
                self._making.pop(key, None)
                while len(self._made) > KEPT:
                    del self._made[next(iter(self._made))]
            return push

    def _drop_old(self) -> None:
        oldest = clock.monotonic() - KEPT_S
        for key in [key for key, (at, _) in self._made.items() if at < oldest]:
            del self._made[key]
