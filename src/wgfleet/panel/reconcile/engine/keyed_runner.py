"""The keyed runner, with one worker for each key that was woken.

Wakes are merged, one key never runs twice at once, failures back off with jitter. It decides when a key is
reconciled, never how. Wakes carry no data, so a lost or doubled one does no harm.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog

from wgfleet.panel import clock
from wgfleet.panel.domain.backoff import backoff
from wgfleet.panel.errors import PanelError, PermanentError, TransientError


class Key(NamedTuple):
    """What one worker reconciles. `kind` is a topic (`node`, `dns`, ...) or the kind of an operation (`drain`, ...)."""

    kind: str
    id: str


Reconcile = Callable[[Key], Awaitable[float | None]]
"""Does one cycle for a key; returns after how many s it wants another one, or None for when something changes."""

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 30.0
IDLE_S = 60.0  # a worker that had nothing to do for so long ends; the next wake starts another

log = structlog.get_logger()


class Runner:
    """Runs `reconcile` for keys that were woken."""

    def __init__(self, reconcile: Reconcile) -> None:
        self._reconcile = reconcile
        self._events: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._closed = False

    def wake(self, key: Key) -> None:
        """Have the key reconciled soon, once however often it is woken. Call it in the event loop.

        Nothing is begun any more once the runner is closed: what wakes keys may end after it.
        """
        if self._closed:
            return
        self._events.setdefault(key, asyncio.Event()).set()
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._work(key), name=f"{key[0]} {key[1]}")

    async def close(self) -> None:
        """End all workers; what they were doing is taken up again from the rows at the next start."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, key: Key) -> None:
        event = self._events[key]
        failures, delay = 0, None
        try:
            while True:
                try:
                    async with asyncio.timeout(IDLE_S if delay is None else delay):
                        await event.wait()
                except TimeoutError:
                    # A wake may come in the same turn of the loop as the time-out; it starts no other worker.
                    if delay is None and not event.is_set():
                        return
                event.clear()
                try:
                    delay = await self._reconcile(key)
                    failures = 0
                except (TransientError, PanelError) as error:
                    failures += 1
                    delay = error.retry_after_s or _delay(failures)
                    log.warning("reconcile.retry", kind=key[0], id=key[1], error=str(error), delay_s=round(delay, 2))
                except PermanentError as error:
                    failures += 1
                    delay = LONGEST_DELAY_S
                    log.warning("reconcile.stuck", kind=key[0], id=key[1], error=str(error), delay_s=delay)
                except Exception:
                    # A bug: log the traceback, and keep the other keys going.
                    failures += 1
                    delay = _delay(failures)
                    log.exception("reconcile.failed", kind=key[0], id=key[1], delay_s=round(delay, 2))
        finally:
            del self._tasks[key], self._events[key]


def _delay(failures: int) -> float:
    return backoff(failures, clock.fraction(), first_s=FIRST_DELAY_S, longest_s=LONGEST_DELAY_S)
