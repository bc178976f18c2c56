"""Repeats of news: how many one other node may have. Pure.

A node that missed something says how far it has heard, and is sent the rest. One that always says that it has heard
nothing would be sent everything without end, so repeating is paid for: by what it has heard since, and by time.
"""

from dataclasses import dataclass

_EACH = 1000.0  # entries: more than one burst of messages has
_PAUSE_S = 0.02  # between two times, however often it asks
_EARNED = 4.0  # entries that may be sent for each that was heard: where three of four messages get lost


@dataclass(slots=True)
class NewsRepeats:
    """What one node has left. `at`: when that was counted, in s of the monotonic clock."""

    left: float = _EACH
    at: float = float("-inf")
    sent_at: float = float("-inf")
    furthest: int = 0
    epoch: int = 0

    def may(self, heard: int, epoch: int, now: float) -> bool:
        """Tell whether it is sent more, having `heard` so far; `epoch`: that of our news which it speaks of."""
        if epoch != self.epoch:
            self.epoch, self.furthest = epoch, 0
        earned = _EARNED * max(0, heard - self.furthest)
        self.furthest = max(self.furthest, heard)
        self.left = min(2 * _EACH, self.left + earned + _EACH * min(2.0, now - self.at))
        self.at = now
        return self.left >= _EACH / 2 and now - self.sent_at >= _PAUSE_S

    def sent(self, entries: int, now: float) -> None:
        """Note how many entries were sent."""
        self.left, self.sent_at = self.left - entries, now
