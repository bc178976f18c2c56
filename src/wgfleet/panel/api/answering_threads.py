"""The threads that answer calls: few that compute at a time, beside those that wait for something.

Threads of one interpreter take it from each other, and what each began is done later for it. Of eight callers without a
pause the slowest hundredth of lists waited 51 ms beside 40 threads, 31 ms beside these (SQLite, 100 peers each), and
more were answered. A thread that waits for its turn to write, or for a provider, takes the interpreter from nobody.
Downloads have threads of their own: beside eight of them pages waited 0.7 s for one of the few.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from anyio import to_thread

from wgfleet.panel import passwords
from wgfleet.panel.reconcile.engine.tasks import came_round

AT_WORK = 3  # two that compute or read, and one whose turn is next
MOST = 40
DOWNLOADS = 1  # of which a part is made at a time
LOOK_S = 0.05
"""A call that is still there at the next look does not compute, or for long: others need not wait for it."""
_DOWNLOADS = ThreadPoolExecutor(DOWNLOADS, "download")
Part = TypeVar("Part", str, bytes)


async def keep_few() -> None:
    """Have `AT_WORK` threads answer calls, and one more for each that is found at it twice; until cancelled.

    Of those that check passwords it is known at once: guessers, who need no key, would take all of the few.
    """
    limiter, loop = to_thread.current_default_thread_limiter(), asyncio.get_running_loop()
    before: frozenset[object] = frozenset()

    def let_in() -> None:
        waiting = max(len(before.intersection(limiter.statistics().borrowers)), passwords.present())
        limiter.total_tokens = min(AT_WORK + waiting, MOST)

    with passwords.telling(lambda: loop.call_soon_threadsafe(let_in)):
        while True:
            came_round()
            let_in()
            before = frozenset(limiter.statistics().borrowers)  # those that this let in as well
            await asyncio.sleep(LOOK_S)


async def download(parts: Iterator[Part]) -> AsyncIterator[Part]:
    """Yield the parts of a long answer as they are made and fetched."""
    context, loop = copy_context(), asyncio.get_running_loop()
    while (part := await loop.run_in_executor(_DOWNLOADS, lambda: context.run(lambda: next(parts, None)))) is not None:
        yield part
