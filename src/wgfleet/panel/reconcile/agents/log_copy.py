"""Copy of what one agent has logged last, which all who look at it share: the agent is asked once a second at most.

Lines have the agent's own numbers, so what a viewer has seen is a place in them, good in every process of the panel.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import NamedTuple

from wgfleet.panel import clock
from wgfleet.panel.errors import PanelError
from wgfleet.protocol.messages import LOG_LINES, AgentLog

FRESH_S = 1.0
FAILED_S = 5.0  # for so long an agent that did not answer is not asked again
PLACE = r"^[0-9a-f]{1,32}\.[0-9]{1,16}$"

Ask = Callable[[str, int], Awaitable[AgentLog]]
"""Asks the agent for lines of a run after a number."""


class LogPart(NamedTuple):
    """Lines, oldest first. `place`: behind the last one; None: the agent does not count its lines.

    `skipped`: how many came in between, and are not shown.
    """

    lines: tuple[str, ...]
    place: str | None = None
    skipped: int = 0


class LogCopy:
    """What is known of one agent's log."""

    def __init__(self) -> None:
        self.asked_at = clock.monotonic()
        """When somebody looked last."""
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._run, self._last = "", 0
        self._fresh_until = 0.0
        self._failed: PanelError | None = None
        self._turn = asyncio.Lock()

    async def refresh(self, ask: Ask) -> None:
        """Ask the agent, if that is due; who comes meanwhile waits for the same answer. Raise what went wrong."""
        self.asked_at = clock.monotonic()
        async with self._turn:
            if clock.monotonic() >= self._fresh_until:
                await self._ask(ask)
            if self._failed is not None:
                raise self._failed

    def part(self, lines: int, place: str = "") -> LogPart:
        """Return the newest lines; of those behind a place, if the agent has run since."""
        run, _, number = place.partition(".")
        seen = int(number or 0)
        fresh = max(0, self._last - seen) if run and run == self._run else len(self._lines)
        shown = min(fresh, lines, len(self._lines))
        skipped = fresh - shown if place else 0
        last = max(self._last, seen) if run == self._run else self._last
        return LogPart(
            tuple(islice(self._lines, len(self._lines) - shown, None)),
            f"{self._run}.{last}" if self._run else None,
            skipped,
        )

    async def _ask(self, ask: Ask) -> None:
        try:
            said = await ask(self._run, self._last)
        except PanelError as error:
            self._failed, self._fresh_until = error, clock.monotonic() + FAILED_S
            return
        if not said.run or said.run != self._run:
            self._lines.clear()
        self._lines.extend(said.lines)
        self._run, self._last = said.run, max(said.last, len(self._lines))
        self._failed, self._fresh_until = None, clock.monotonic() + FRESH_S
