"""Runs the system's tools without blocking the event loop. Never through a shell; secrets go through stdin."""

import asyncio
import re

_KEY = re.compile(r"[A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64}")  # base64 as `wg` prints it, hex as the socket does
_TIMEOUT_S = 60.0


class KernelError(Exception):
    """The machine did not do what it was asked. The text never holds a key."""

    def __init__(self, detail: str) -> None:
        super().__init__(_KEY.sub("(key)", detail))


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
