"""Collection of cyclic garbage in core and API: seldom all of it, for no thread does anything else meanwhile.

Python looks through all objects again and again, which took 0.2 s of a processor every three seconds with 200 nodes.
Here what was looked through once is old, and looked through again once an hour, or when there is half as much again.
What came from the parent is never looked through: that writes to each object, and memory that is written to is no
longer shared. Memory that is free by then goes back to the system: of itself, the C library keeps what lies between
blocks that are in use.
"""

import asyncio
import ctypes
import gc
import sys

from wgfleet.panel import clock
from wgfleet.panel.reconcile.engine.tasks import came_round

EVERY_S = 10.0
ALL_EVERY_S = 3600.0
GIVE_BACK_EVERY_S = 60.0
MUCH_MORE = 1.5  # blocks of memory than when all were looked through
_YOUNG, _ALL = 1, 2  # generations
# The young are looked through after 10,000 new ones, which takes a millisecond; the old by `tidy` alone.
_THRESHOLDS = (10_000, 20, 1_000_000)


def collect_little() -> None:
    """Have Python look through young objects only from now on, and never through those that there are by now."""
    gc.set_threshold(*_THRESHOLDS)
    gc.freeze()


def tidy(*, everything: bool) -> None:
    """Collect what has become garbage among the objects since the last time, or since `collect_little`."""
    gc.collect(_ALL if everything else _YOUNG)


def give_back() -> None:
    """Give free memory back to the system, where the C library can (glibc); some 10 ms, and the interpreter is free."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def is_much_more(before: int) -> bool:
    """Tell whether far more blocks of memory are in use than `before`: some may be garbage by now."""
    return sys.getallocatedblocks() > MUCH_MORE * before


async def keep_tidy() -> None:
    """Tidy now and then until cancelled."""
    all_due_at = give_back_at = 0.0
    before = 0
    while True:
        came_round()
        await asyncio.sleep(EVERY_S)
        everything = clock.monotonic() >= all_due_at or is_much_more(before)
        tidy(everything=everything)
        if everything:
            all_due_at, before = clock.monotonic() + ALL_EVERY_S, sys.getallocatedblocks()
        if clock.monotonic() >= give_back_at:
            await asyncio.to_thread(give_back)
            give_back_at = clock.monotonic() + GIVE_BACK_EVERY_S
