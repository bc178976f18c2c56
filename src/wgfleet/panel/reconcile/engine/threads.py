"""Threads for what blocks, called from asynchronous code: each kind of work has some that no other can occupy.

Threads of decisions and of what clients wait for also go first where the database takes one writer at a time.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Any, ParamSpec, TypeVar, cast

from wgfleet.panel import clock
from wgfleet.panel.store import turns

P = ParamSpec("P")
T = TypeVar("T")

# After how long in s a thread that computes gives the interpreter to the event loop, which asks for it after each
# packet. Beside four threads that render, a timer of the loop was 43 ms late at the median with Python's own 5 ms, and
# 1 ms with this (measured).
_SWITCH_S = 0.0001


# Where processors are short, a thread of -5 has three times the share of one of 0, one of -10 nine times, and begins
# sooner. All of a core have -5 at least: one that has the interpreter, and no processor, would keep all others waiting.
_USUAL_NICENESS = os.nice(0)
_LOOP_NICENESS = _USUAL_NICENESS - 5
_FIRST_NICENESS = _USUAL_NICENESS - 10


class Work(Enum):
    """A kind of work, by who waits for it."""

    DECISION = "decisions"  # whether a node serves
    URGENT = "urgent"  # clients without a node: takeovers, floating addresses
    NODES = "nodes"  # what nodes are to have: whole renderings of 10,000 peers, which take a second of the interpreter
    ORDINARY = "store"
    TELEMETRY = "telemetry"  # nobody: counters, heartbeats, what is deleted for its age


def come_first() -> None:
    """Let the calling thread pass all others, for a processor and for the turn to write: what it does is short."""
    _set_niceness(_FIRST_NICENESS)
    turns.go_first()


def _set_niceness(niceness: int) -> None:
    with contextlib.suppress(OSError):  # it takes root, or a limit that allows it: the panel's unit sets one
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


# Renders are bound by the interpreter, writes by the one writer of SQLite: more threads would only queue there. Each
# that renders has the event loop wait for one more turn of the interpreter: eight of them left it 3 % of the time.
_THREADS = {
    Work.DECISION: ThreadPoolExecutor(4, thread_name_prefix=Work.DECISION.value, initializer=come_first),
    Work.URGENT: ThreadPoolExecutor(4, thread_name_prefix=Work.URGENT.value, initializer=come_first),
    Work.NODES: ThreadPoolExecutor(3, thread_name_prefix=Work.NODES.value),
    Work.ORDINARY: ThreadPoolExecutor(4, thread_name_prefix=Work.ORDINARY.value),
    Work.TELEMETRY: ThreadPoolExecutor(2, thread_name_prefix=Work.TELEMETRY.value),
}
_work: ContextVar[Work] = ContextVar("work", default=Work.ORDINARY)


def favor_the_loop() -> None:
    """Have the calling thread, of the event loop, wait but a moment: for those of this process, and for a processor."""
    sys.setswitchinterval(_SWITCH_S)
    _set_niceness(_LOOP_NICENESS)


@contextmanager
def doing(work: Work) -> Iterator[None]:
    """Have `in_thread` use the threads of a kind of work, here and in tasks that are begun here."""
    before = _work.set(work)
    try:
        yield
    finally:
        _work.reset(before)


def always(work: Work, function: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """Return a function that does the same, with the threads of a kind of work."""

    async def done() -> T:
        with doing(work):
            return await function()

    return done


# What telemetry computes, and writes, takes its share of the one interpreter: a takeover's two transactions, 0.1 s of
# processor, took 0.75 s beside it. One transaction of theirs after the other, so telemetry waits for a moment more.
_SOON_S = 0.05
_LOOK_S = 0.01
_PATIENCE_S = 1.0  # and no longer: clients that do not answer are called for a minute
_under_way: set[Future[Any]] = set()
_urgent_until = 0.0


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run store code in a thread and wait for it. Cancelling the wait does not cancel the transaction.

    Telemetry begins when nothing is under way that clients wait for, or after a second.
    """
    work = _work.get()
    if work is Work.TELEMETRY:
        await _gave_way()
    running = _THREADS[work].submit(function, *args, **kwargs)
    if work in {Work.DECISION, Work.URGENT}:
        _under_way.add(running)
        running.add_done_callback(_ended_urgent if work is Work.URGENT else _under_way.discard)
    return await asyncio.wrap_future(running)


def _ended_urgent(work: Future[Any]) -> None:
    """Note that it has ended, or was given up while it stood in the queue."""
    global _urgent_until  # noqa: PLW0603 - of all threads, as the interpreter is
    _under_way.discard(work)
    _urgent_until = clock.monotonic() + _SOON_S


async def _gave_way() -> None:
    """Wait until nothing is under way that clients wait for."""
    until = clock.monotonic() + _PATIENCE_S
    while (now := clock.monotonic()) < until and (_under_way or now < _urgent_until):  # noqa: ASYNC110 - ended by threads
        await asyncio.sleep(_LOOK_S)


async def in_decision_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run store code that health waits for, in a thread that nothing else can occupy; else as `in_thread`."""
    with doing(Work.DECISION):
        return await in_thread(function, *args, **kwargs)


async def in_own_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run what may block for long in a thread of its own, so that nothing else waits for it.

    Cancelling the wait does not cancel the function; its thread does not keep the process alive.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("T", result))

    def run() -> None:
        result, failure = None, None
        try:
            result = function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failure = error
        # The loop may be gone by now, and nobody waits for the result.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, name=f"{getattr(function, '__name__', 'provider')}", daemon=True).start()
    return await done
