"""Reports of what happens again and again, folded: the first at once, the others as one count when their time is over.

A client that is refused a thousand times a second must not write a thousand lines a second. Nothing here reads a clock.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

WINDOW_S = 60.0
CAPACITY = 100

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Window:
    ends_at: float
    more: int = 0


class Folding(Generic[K]):
    """Counts by key. Beyond `capacity` keys in a window, all further ones count as `others`."""

    def __init__(self, others: K, window_s: float = WINDOW_S, capacity: int = CAPACITY) -> None:
        self.window_s = window_s
        self._others = others
        self._capacity = capacity
        self._windows: dict[K, _Window] = {}

    def note(self, key: K, now: float, count: int = 1) -> K | None:
        """Count one, or several at once; return the key to report them under if they begin a window, else None."""
        window = self._windows.get(key)
        if window is None and len(self._windows) >= self._capacity:
            key = self._others
            window = self._windows.get(key)
        if window is not None:
            window.more += count
            return None
        self._windows[key] = _Window(now + self.window_s)
        return key

    def ended(self, now: float) -> list[tuple[K, int]]:
        """Return the keys whose windows are over, with the number of those that were not reported; forget them."""
        over = [(key, window.more) for key, window in self._windows.items() if window.ends_at <= now]
        for key, _ in over:
            del self._windows[key]
        return [(key, more) for key, more in over if more]

    @property
    def next_end(self) -> float | None:
        """When the next window is over; None: there is none."""
        return min((window.ends_at for window in self._windows.values()), default=None)
