"""Allowances: how much of something one agent may cause in a while. What was not used is kept, up to a burst.

Nothing here reads a clock.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Allowance:
    """A token bucket: `rate` a second, at most `burst` at once. It begins full."""

    burst: float
    rate: float
    _used: float = 0.0
    _at: float = 0.0

    def take(self, amount: float, now: float) -> bool:
        """Take an amount and return True; return False, and take nothing, where it is not there."""
        self._used = max(0.0, self._used - self.rate * max(0.0, now - self._at))
        self._at = now
        if self._used + amount > self.burst:
            return False
        self._used += amount
        return True

    def wait_s(self, amount: float) -> float:
        """Return how long after the last `take` an amount is there."""
        return max(0.0, self._used + amount - self.burst) / self.rate
