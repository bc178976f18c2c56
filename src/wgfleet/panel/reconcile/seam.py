"""The seam between asynchronous reconcilers and the synchronous store: a few threads of our own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Renders are bound by the interpreter, writes by the one writer of SQLite: more threads would only queue there.
_THREADS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="store")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run store code in a thread and wait for it. Cancelling the wait does not cancel the transaction."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: function(*args, **kwargs))
