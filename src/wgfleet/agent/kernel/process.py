"""Runs the system's tools without blocking the event loop. Never through a shell; secrets go through stdin."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_KEY = re.compile(r"[A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64}")  # base64 as `wg` prints it, hex as the socket does
_TIMEOUT_S = 60.0
_CHUNK = 64 * 1024  # bytes: some hundred peers, about 1 ms of work


class KernelError(Exception):
    """The machine did not do what it was asked. The text never holds a key."""

    def __init__(self, detail: str) -> None:
        super().__init__(_KEY.sub("(key)", detail))


@asynccontextmanager
async def output_of(*command: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """Run `command` and hand out its stdout in chunks, as it comes; `KernelError` at the end if it failed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_CHUNK,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            yield chunks_of(process.stdout or asyncio.StreamReader())
            await process.wait()
    except TimeoutError:
        raise KernelError(f"`{' '.join(command[:3])}` did not end within {_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise KernelError(f"`{' '.join(command[:3])}` failed with {process.returncode}")


async def chunks_of(reader: asyncio.StreamReader, until: bytes | None = None) -> AsyncIterator[bytes]:
    """Hand out what comes until its end, or until it ends with `until`."""
    tail = b""
    while chunk := await reader.read(_CHUNK):
        yield chunk
        if until is not None:
            tail = (tail + chunk)[-len(until) :]
            if tail == until:
                return


async def run(*command: str, stdin: bytes | None = None) -> bytes:
    """Run `command` and return its stdout; raise `KernelError` with its stderr if it fails or hangs."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise KernelError(f"`{command[0]}` is not installed; install it and try again") from None
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            out, error = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise KernelError(f"`{' '.join(command[:3])}` did not end within {_TIMEOUT_S:.0f} s") from None
    except asyncio.CancelledError:
        if process.returncode is None:
            process.kill()
        raise
    if process.returncode != 0:
        said = " ".join(error.decode(errors="replace").split())[:500]
        raise KernelError(f"`{' '.join(command[:3])}` failed: {said}")
    return out
