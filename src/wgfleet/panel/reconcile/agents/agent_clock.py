"""The clock of one agent, as what it says of it arrives: at once, or late. Pure.

Messages get lost and are repeated, and a panel may be busy; nothing arrives early. So what says that the clock is ahead
of what was known is right, and what says that it is behind may only be late: the best of a while counts.
"""

STEP_S = 0.5  # a clock that is off by more was set; less is the way of the message
_WHILE_S = 5.0  # the repeats of a message that got lost four times take less
_LATEST_S = 30.0  # no message is later than that on a connection that lasts


class AgentClock:
    """How far an agent's clock is ahead of the panel's monotonic one (`ahead_s`)."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self._known = False
        self._behind: tuple[float, float] | None = None  # since when all was late, and the least late of it

    def says(self, agents_now: float, now: float) -> None:
        """Take what the clock said in a message that has just come."""
        ahead_s = agents_now - now
        if not self._known or abs(ahead_s - self.ahead_s) > _LATEST_S:
            self._take(ahead_s)
        elif ahead_s > self.ahead_s - STEP_S:
            self._take(ahead_s if ahead_s > self.ahead_s + STEP_S else self.ahead_s)
        else:
            since, best = self._behind or (now, ahead_s)
            self._behind = since, max(best, ahead_s)
            if now - since >= _WHILE_S:
                self._take(self._behind[1])

    def _take(self, ahead_s: float) -> None:
        self.ahead_s, self._known, self._behind = ahead_s, True, None
