"""Threads of requests: few work at a time, in the order of asking, however many wait for something else.

Threads of a process take turns at its one interpreter. With eight that compute, an answer that is due after 10 ms takes
40 to 60 now and then, and a sixth more of the processor; with two, 25 (measured). One that waits elsewhere makes room
for another: it says so, or has not ended after a moment. Otherwise two sign-in servers that hang would keep all out.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from anyio.to_thread import current_default_thread_limiter

AT_ONCE = 2
MOST = 40  # with those that wait
LOOK_S = 0.05


class RequestThreads:
    """Those of the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._limiter = current_default_thread_limiter()
        self._elsewhere = 0
        self._long = 0
        self._make_room()

    def count_elsewhere(self, change: int) -> None:
        """Count one more or less that waits elsewhere; from any thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._count, change)

    async def keep_room(self) -> None:
        """Find those that have not ended for a moment, again and again until cancelled."""
        before: frozenset[object] = frozenset()
        while True:
            now = frozenset(self._limiter.statistics().borrowers)
            self._long = len(now & before)
            self._make_room()
            before = now
            await asyncio.sleep(LOOK_S)

    def _count(self, change: int) -> None:
        self._elsewhere += change
        self._make_room()

    def _make_room(self) -> None:
        # Who says so, and does not end, counts twice: a thread too many is none too few.
        self._limiter.total_tokens = min(MOST, AT_ONCE + self._elsewhere + self._long)


_of_process: list[RequestThreads] = []


def begin() -> RequestThreads:
    """Have few threads of the running event loop work at a time from now on."""
    _of_process[:] = [RequestThreads()]
    return _of_process[0]


@contextmanager
def elsewhere() -> Iterator[None]:
    """For a block in which a thread hardly needs the interpreter, for it waits or computes without."""
    threads = _of_process[:1]
    for each in threads:
        each.count_elsewhere(1)
    try:
        yield
    finally:
        for each in threads:
            each.count_elsewhere(-1)
