"""Control sockets of other programs on this machine: a conversation that ends in time, whatever is at the other end."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from wgfleet.agent.kernel.commands import KernelError

T = TypeVar("T")

TIMEOUT_S = 1.0  # a program that runs answers within milliseconds
AT_ONCE = 16  # questions in one conversation, so that its time is enough for all of them on a busy machine too


def parts(questions: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the questions of one conversation after the other."""
    for start in range(0, len(questions), AT_ONCE):
        yield questions[start : start + AT_ONCE]


@asynccontextmanager
async def conversation(
    who: str, socket: Path, most: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a program's socket; `KernelError` where it says nothing in time, or more than `most` bytes."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(socket, limit=most)
            try:
                yield reader, writer
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise KernelError(f"{who} does not answer at {socket} within {TIMEOUT_S:g} s") from None
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        why = getattr(error, "strerror", None) or "it ended in the middle"
        raise KernelError(f"{who} does not answer at {socket} ({why}); start it, or see its log") from None
