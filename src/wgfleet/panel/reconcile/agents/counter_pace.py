"""The pace of counters: how often the traffic of users is written down. Less often, while the panel cannot keep up.

Counters only count on and what is written is the latest, so sums stay right; a node that dies takes with it what its
users sent since the last writing. Sessions, by which clients of a dead node are called, are written at once.
"""

from wgfleet.panel.reconcile.lateness import COUNTERS_S

LONGEST_S = 8 * COUNTERS_S
TOO_LONG_S = 1.0  # for a round of writing, of which there is one a second
TOO_LATE_S = 0.25  # for a decision: half of what the panel says it cannot keep up with
SETTLES_S = 10.0  # until it is seen what a slower pace has brought; the lateness of decisions is that of so long
LASTS_S = 30.0  # trouble, before anything is done about it: a start, or one large change, is over by then
STEADY_S = 60.0  # without trouble, before it is written more often again


class CounterPace:
    """`every_s` is the pace. Call `note` after each round of writing."""

    def __init__(self) -> None:
        self.every_s = COUNTERS_S
        self._changed_at = float("-inf")
        self._trouble_at = float("-inf")
        self._trouble_since: float | None = None

    def note(self, now: float, took_s: float, decisions_late_s: float) -> None:
        """Take note of how long a round took, and of how late decisions were in the last `SETTLES_S`."""
        if took_s > TOO_LONG_S or decisions_late_s > TOO_LATE_S:
            self._trouble_at = now
            if self._trouble_since is None:
                self._trouble_since = now
            if now - self._trouble_since >= LASTS_S and now - self._changed_at >= SETTLES_S:
                self._set(min(LONGEST_S, 2 * self.every_s), now)
            return
        if now - self._trouble_at >= SETTLES_S:
            self._trouble_since = None
        if now - max(self._trouble_at, self._changed_at) >= STEADY_S:
            self._set(max(COUNTERS_S, self.every_s / 2), now)

    def _set(self, every_s: float, now: float) -> None:
        if every_s != self.every_s:
            self.every_s, self._changed_at = every_s, now
