"""Background tasks: the panel's endless loops, restarted when they die, counted, and visible to `/readyz`.

What is done for one key, once, belongs to the keyed runner. A loop handles the errors that it expects (a database that
cannot be reached); what comes out of it is a bug, and must not stop the work for good without anybody noticing.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import structlog

from wgfleet.panel import clock
from wgfleet.panel.domain.backoff import backoff
from wgfleet.panel.errors import PanelError

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 30.0
STABLE_S = 60.0  # a task that has run for this long since its last failure is well again
FAILURES = 3  # from this many in a row a task counts as failing, also while it runs

BEHIND_S = 1.0  # less is no news
ROUNDS = 3  # a loop that has not come round for this number of its intervals hangs
PATIENCE_S = 5.0  # and for this long beyond, because a machine may be busy

Work = Callable[[], Awaitable[object]]

log = structlog.get_logger()


_current: ContextVar["BackgroundTask"] = ContextVar("background task")


def came_round() -> None:
    """Note that the loop which calls this has begun another round; nothing outside of a background task."""
    if (task := _current.get(None)) is not None:
        task.came_round()


async def keep_looking(look: Work, every_s: float, event: str, *, counts_done: bool = False) -> None:
    """Look, and again every `every_s`, until cancelled. One that ends with a `PanelError` is logged as `event`.

    `counts_done`: such a look is none, so that the loop is late while all of them end so.
    """
    while True:
        if not counts_done:
            came_round()
        try:
            await look()
            came_round()
        except PanelError as error:
            log.warning(event, error=str(error), seconds_to_next=every_s)
        await asyncio.sleep(every_s)


@dataclass(frozen=True, slots=True)
class Failing:
    """A task that is not running just now, dies again and again, or hangs. `subject`: a node's id, for a connection's.

    `late_s`: for how long it has not come round, where that is too long.
    """

    name: str
    subject: str
    running: bool
    failures: int
    late_s: float | None = None

    @property
    def stops_work(self) -> bool:
        """Whether the whole panel is without what this task does, not only one node."""
        return not self.subject


class BackgroundTask:
    """One loop, from its start until it is stopped."""

    def __init__(
        self,
        name: str,
        subject: str,
        work: Work,
        longest_delay_s: float,
        died: Callable[[], None],
        *,
        every_s: float | None,
    ) -> None:
        self.name = name
        self.subject = subject
        self._work = work
        self._longest_delay_s = longest_delay_s
        self._died = died
        self._every_s = every_s
        self._failures = 0
        self._running = True
        self._started_at = self._came_round_at = clock.monotonic()
        self._task = asyncio.create_task(self._keep_running(), name=f"{name} {subject}".rstrip())

    @property
    def failing(self) -> Failing | None:
        """Return what is wrong with it; None where nothing is."""
        failures = 0 if self._stable else self._failures
        if self._running and failures < FAILURES and self._late_s is None:
            return None
        return Failing(self.name, self.subject, self._running, failures, self._late_s)

    def came_round(self) -> None:
        """Note that the loop has begun another round."""
        self._came_round_at = clock.monotonic()

    @property
    def _late_s(self) -> float | None:
        if self._every_s is None or not self._running:
            return None
        since_s = clock.monotonic() - self._came_round_at
        return round(since_s, 1) if since_s > ROUNDS * self._every_s + PATIENCE_S else None

    @property
    def behind_s(self) -> float:
        """For how long it should have come round."""
        if self._every_s is None:
            return 0.0
        return max(0.0, clock.monotonic() - self._came_round_at - self._every_s)

    @property
    def ended(self) -> bool:
        """Whether it was stopped."""
        return self._task.done()

    async def stop(self) -> None:
        """Stop it where it stands; safe to call twice."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def _stable(self) -> bool:
        return self._running and clock.monotonic() - self._started_at >= STABLE_S

    async def _keep_running(self) -> None:
        while True:
            _current.set(self)
            self._started_at, self._running = clock.monotonic(), True
            self.came_round()
            error: BaseException | None = None
            try:
                await self._work()
            except asyncio.CancelledError as cancelled:
                if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # we run in a task
                    raise
                error = cancelled  # something that it waited for was cancelled, not this task
            except Exception as raised:  # noqa: BLE001 - a bug of ours, whatever it is
                error = raised
            self._failures = 1 if self._stable else self._failures + 1
            self._running = False
            self._died()
            delay_s = backoff(self._failures, clock.fraction(), first_s=FIRST_DELAY_S, longest_s=self._longest_delay_s)
            log.error(
                "task.died" if error else "task.ended",
                task=self.name,
                subject=self.subject,
                failures=self._failures,
                delay_s=round(delay_s, 2),
                exc_info=error,
            )
            await asyncio.sleep(delay_s)


class BackgroundTasks:
    """All loops of a panel. Use it in the event loop; `failing` and `deaths` may be read from any thread."""

    def __init__(self) -> None:
        self._tasks: list[BackgroundTask] = []
        self._deaths: Counter[str] = Counter()

    def start(
        self,
        name: str,
        work: Work,
        *,
        subject: str = "",
        longest_delay_s: float = LONGEST_DELAY_S,
        every_s: float | None = None,
    ) -> BackgroundTask:
        """Run a loop until it is stopped, and start it again whenever it dies or ends.

        `every_s`: how often it calls `came_round` at least; one that does not is failing, though it runs.
        """
        self._deaths[name] += 0  # so that the metric is there before the first

        def died() -> None:
            self._deaths[name] += 1

        task = BackgroundTask(name, subject, work, longest_delay_s, died, every_s=every_s)
        self._tasks = [*(other for other in self._tasks if not other.ended), task]
        return task

    @property
    def failing(self) -> Sequence[Failing]:
        """Return the tasks that are not running, or keep dying."""
        return [failing for task in self._tasks if not task.ended and (failing := task.failing) is not None]

    @property
    def behind_s(self) -> dict[str, float]:
        """Return for how long tasks of the whole panel should have come round, where that is more than a moment."""
        behind = {task.name: task.behind_s for task in self._tasks if not task.ended and not task.subject}
        return {name: seconds for name, seconds in behind.items() if seconds >= BEHIND_S}

    @property
    def deaths(self) -> Mapping[str, int]:
        """Return how often the tasks of each name have died since the panel started."""
        return dict(self._deaths)

    async def close(self) -> None:
        """Stop all of them."""
        await asyncio.gather(*(task.stop() for task in self._tasks))
        self._tasks = []
