"""Work in a thread with an event loop of its own: what the first loop is at, however long, does not hold it up."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from typing import Protocol, TypeVar

T = TypeVar("T")


class LoopCall(Protocol):
    """Awaits a coroutine in the event loop that its objects belong to, from another."""

    async def __call__(self, coroutine: Coroutine[None, None, T]) -> T: ...


async def here(coroutine: Coroutine[None, None, T]) -> T:
    """Await it in the loop that runs: a `LoopCall` where there is one loop."""
    return await coroutine


def calls_into_this_loop() -> LoopCall:
    """Return a `LoopCall` by which other loops await what belongs to the one that runs now."""
    home = asyncio.get_running_loop()

    async def call(coroutine: Coroutine[None, None, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, home))

    return call


async def in_loop_thread(name: str, work: Callable[[], Awaitable[T]], begin: Callable[[], None] = lambda: None) -> T:
    """Run work in a thread with a loop of its own until it ends. Cancelling this cancels it, and waits for its end.

    `begin` is called in that thread before.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    thread_loop = asyncio.new_event_loop()
    task = thread_loop.create_task(_begun(begin, work), context=copy_context())

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    def run() -> None:
        asyncio.set_event_loop(thread_loop)
        try:
            with contextlib.suppress(BaseException):  # kept by the task
                thread_loop.run_until_complete(task)
            thread_loop.run_until_complete(thread_loop.shutdown_asyncgens())
        finally:
            thread_loop.close()
            with contextlib.suppress(RuntimeError):  # the other loop may be gone: nobody waits any more
                loop.call_soon_threadsafe(end)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        with contextlib.suppress(RuntimeError):  # it has ended in this moment
            thread_loop.call_soon_threadsafe(task.cancel)
        await asyncio.shield(ended)
        raise
    return task.result()


async def _begun(begin: Callable[[], None], work: Callable[[], Awaitable[T]]) -> T:
    begin()
    return await work()
