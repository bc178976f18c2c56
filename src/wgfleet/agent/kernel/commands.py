"""The system's tools, run without blocking the event loop. Never through a shell; secrets go through stdin.

Not through asyncio's own subprocesses: cancelled while one is being made, together with the task that connects its
pipes (as `asyncio.run` does at its end), they wait for ever (Python 3.11, `_make_subprocess_transport`). Here nothing
is awaited after a cancellation.
"""

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import IO

_KEY = re.compile(r"[A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64}")  # base64 as `wg` prints it, hex as the socket does
_TIMEOUT_S = 60.0
_KILL_WAIT_S = 1.0  # that a killed command may stay in the kernel before it is left to be reaped later
_CHUNK = 64 * 1024  # bytes: some hundred peers, about 1 ms of work


class KernelError(Exception):
    """The machine did not do what it was asked. The text never contains a key."""

    def __init__(self, detail: str) -> None:
        super().__init__(_KEY.sub("(key)", detail))


@asynccontextmanager
async def output_of(*command: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """Run `command` and yield its stdout in chunks, as it comes; raise `KernelError` at the end if it failed."""
    with ExitStack() as stack:
        process = stack.enter_context(_child(command, subprocess.DEVNULL, subprocess.PIPE, subprocess.DEVNULL))
        reader = asyncio.StreamReader(limit=_CHUNK)
        async with _limit(command):
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), process.stdout
            )
            stack.callback(transport.close)
            yield chunks_of(reader)
            await ended(process.pid)
    if process.returncode != 0:
        raise KernelError(f"`{' '.join(command[:3])}` failed with {process.returncode}")


async def chunks_of(
    reader: asyncio.StreamReader, until: bytes | None = None, first: bytes | None = None
) -> AsyncIterator[bytes]:
    """Yield data until the end, or until it ends with `until`; `first`: what was read already."""
    tail = b""
    while chunk := await reader.read(_CHUNK) if first is None else first:
        first = None
        yield chunk
        if until is not None:
            tail = (tail + chunk)[-len(until) :]
            if tail == until:
                return


async def run(*command: str, stdin: bytes | None = None) -> bytes:
    """Run `command` and return its stdout; raise `KernelError` with its stderr if it fails or hangs."""
    with _memory() as given, _memory() as out, _memory() as error:
        given.write(stdin or b"")
        given.seek(0)
        with _child(command, given, out, error) as process:
            async with _limit(command):
                await ended(process.pid)
        if process.returncode != 0:
            said = " ".join(_content(error).decode(errors="replace").split())[:500]
            raise KernelError(f"`{' '.join(command[:3])}` failed: {said}")
        return _content(out)


async def ended(pid: int) -> None:
    """Wait until a process, child or not, has ended; return at once if there is none."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(handle, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _memory() -> IO[bytes]:
    """Make an anonymous file in memory: unlike a pipe it takes any amount, and nobody has to empty it."""
    return os.fdopen(os.memfd_create("wgfleet"), "w+b", buffering=0)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


@contextmanager
def _child(
    command: tuple[str, ...], stdin: int | IO[bytes], stdout: int | IO[bytes], stderr: int | IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program; it has ended, or was killed, when the block is left."""
    try:
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr)
    except (FileNotFoundError, PermissionError):
        # A folder of PATH that may not be read also ends here.
        raise KernelError(f"`{command[0]}` is not installed, or may not be run; install it and try again") from None
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_KILL_WAIT_S)


@asynccontextmanager
async def _limit(command: tuple[str, ...]) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            yield
    except TimeoutError:
        raise KernelError(f"`{' '.join(command[:3])}` did not end within {_TIMEOUT_S:.0f} s") from None
