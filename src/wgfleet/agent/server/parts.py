"""Answers in parts: what is known of a piece of work while it goes on, a line of JSON each; the last is its result."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import structlog
from msgspec import Struct
from starlette.responses import Response, StreamingResponse

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.server.http import answer, encode

_log = structlog.get_logger()
T = TypeVar("T", bound=Struct)


class PartedAnswers:
    """Answers of this kind. The work goes on when its reader has gone."""

    def __init__(self) -> None:
        self._works: set[asyncio.Task[Any]] = set()  # a task that nobody refers to may be collected

    async def answer(self, work: asyncio.Task[T], said: asyncio.Queue[T]) -> Response:
        """Answer with what is `said` until the work ends, and with its result; alone where nothing is said before."""
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        first = await _next(work, said)
        if first is None:
            return answer(work.result())
        return StreamingResponse(_lines(work, said, first), media_type="application/x-ndjson")


async def _lines(work: asyncio.Task[T], said: asyncio.Queue[T], first: T) -> AsyncIterator[bytes]:
    part: T | None = first
    while part is not None:
        yield encode(part) + b"\n"
        part = await _next(work, said)
    try:
        yield encode(work.result()) + b"\n"
    except (KernelError, OSError) as error:  # the reader sees that the last line is missing
        _log.error("answer.ended_early", reason=str(error))


async def _next(work: asyncio.Task[T], said: asyncio.Queue[T]) -> T | None:
    """Return what is said next; None when the work has ended and all was said."""
    if said.empty() and not work.done():
        getting = asyncio.create_task(said.get())
        await asyncio.wait({work, getting}, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            return getting.result()
        getting.cancel()
    return None if said.empty() else said.get_nowait()
