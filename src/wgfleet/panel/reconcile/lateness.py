"""Lateness of the watch: how much later than due nodes were judged in the last minute, and when that is too much."""

from collections import deque
from collections.abc import Sequence

import msgspec

from wgfleet.protocol.reasons import Reason

COUNTERS_S = 60.0  # how often counters of users are written by a panel that keeps up
WINDOW_S = 60.0
KEPT = 2000  # rounds; more in a minute are looked at by their last ones
TOO_LATE_S = 0.5  # clients feel it: as long as finding out takes in the first place
TOO_FAR_BEHIND_S = 10.0  # counters that are shown are older than people take them to be


class Lateness(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True):
    """How late a core is, in s. `decisions_p99_s`, `decisions_max_s`: of the last minute.

    `probes_left_out`: since it started. `behind`: by background task that comes round now and then, for how long it
    should have; those that are in time are left out. `counters_every_s`: how often counters of users are written.
    """

    decisions_p99_s: float = 0.0
    decisions_max_s: float = 0.0
    probes_left_out: int = 0
    behind: dict[str, float] = {}
    counters_every_s: float = COUNTERS_S

    @property
    def trouble(self) -> str | None:
        """Say what this core cannot keep up with; None: it does."""
        if self.decisions_p99_s > TOO_LATE_S:
            return Reason(
                "whether nodes serve is decided {decisions_p99_s:.1f} s late", decisions_p99_s=self.decisions_p99_s
            )
        if self.behind.get("telemetry", 0.0) > TOO_FAR_BEHIND_S:
            return Reason("what nodes report is written {behind:.0f} s late", behind=self.behind["telemetry"])
        if self.counters_every_s > COUNTERS_S:
            return Reason(
                "the traffic of users is written every {counters_every_s:.0f} s, so that the rest is in time",
                counters_every_s=self.counters_every_s,
            )
        return None


class DecisionClock:
    """Notes when decisions were due and when they were made. Written by one thread; any may read."""

    def __init__(self) -> None:
        self.probes_left_out = 0
        self._late: deque[tuple[float, float]] = deque(maxlen=KEPT)

    def decided(self, due_at: float, now: float) -> None:
        """Note a decision that was made now."""
        self._late.append((now, max(0.0, now - due_at)))

    def lateness(self, now: float, behind: dict[str, float], counters_every_s: float = COUNTERS_S) -> Lateness:
        """Return how late the decisions of the last minute were."""
        recent = self._recent(now, WINDOW_S)
        return Lateness(
            decisions_p99_s=round(_p99(recent), 4),
            decisions_max_s=round(recent[-1], 4) if recent else 0.0,
            probes_left_out=self.probes_left_out,
            behind={name: round(seconds, 1) for name, seconds in behind.items()},
            counters_every_s=counters_every_s,
        )

    def late_s(self, now: float, within_s: float) -> float:
        """Return how late decisions were lately, at the 99th percentile."""
        return _p99(self._recent(now, within_s))

    def _recent(self, now: float, within_s: float) -> list[float]:
        return sorted(late for at, late in tuple(self._late) if now - at <= within_s)


def _p99(ordered: Sequence[float]) -> float:
    # Of a few, as after a start, one alone says nothing.
    beyond = max(1, len(ordered) // 100)
    return ordered[-1 - beyond] if len(ordered) > beyond else 0.0
