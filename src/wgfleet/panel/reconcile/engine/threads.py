"""Threads for what blocks, called from asynchronous code: for decisions, for the store, for calls of providers."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

# Renders are bound by the interpreter, writes by the one writer of SQLite: more threads would only queue there.
_THREADS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="store")
# Whether a node serves is decided whatever the others wait for: a rendering for 10,000 peers, or a lock.
_DECISIONS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="decisions")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run store code in a thread and wait for it. Cancelling the wait does not cancel the transaction."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: function(*args, **kwargs))


async def in_decision_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run store code that health waits for, in a thread that nothing else can occupy; else as `in_thread`."""
    return await asyncio.get_running_loop().run_in_executor(_DECISIONS, lambda: function(*args, **kwargs))


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
