"""BIRD, the routing daemon of this machine, asked over its control socket: its sessions, and what it announces.

Read only: each connection is restricted first. BIRD announces an address because it is on the loopback link; the
agent never tells it to.
"""

import asyncio
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from wgfleet.agent.kernel.commands import KernelError

SOCKET = Path("/run/bird/bird.ctl")
LINK = "lo"  # where an address is that routers lead here
_TIMEOUT_S = 1.0  # it answers within a millisecond, unless it hangs
_MOST = 256 * 1024  # bytes of an answer
_NOT_FOUND = 8001
_FIRST_ERROR = 8000
_REPLY = re.compile(r"(\d{4})([ -])(.*)")
_SOURCE = re.compile(r"\[(\S+) [^\]]*\]")


async def sessions() -> list[str]:
    """Return the names of BIRD's sessions with routers that are up; raise `KernelError` if it does not answer."""
    return _established(await _ask("show protocols"))


async def announces(address: str, sessions: Collection[str]) -> bool:
    """Tell whether BIRD announces an address by one of its sessions."""
    answers = await _ask(*(f"show route {_network(address)} export {name}" for name in sessions))
    return any(_SOURCE.search(line) for line in answers)


async def claimant(address: str) -> str | None:
    """Return by which session a router says that another machine has an address; None if none does."""
    lines = await _ask("show protocols", f"show route {_network(address)}")
    up = set(_established(lines))
    found = [match[1] for line in lines if (match := _SOURCE.search(line)) and match[1] in up]
    return f"another machine, says BIRD's {found[0]}," if found else None


def _established(lines: list[str]) -> list[str]:
    words = [line.split() for line in lines]
    return [each[0] for each in words if len(each) > 1 and each[1] == "BGP" and "Established" in each]


def _network(address: str) -> str:
    return f"{address}/128" if ":" in address else f"{address}/32"


async def _ask(*commands: str) -> list[str]:
    """Return the lines of the answers, one after the other, without their codes."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(SOCKET, limit=_MOST)
            try:
                await _answer(reader)  # its greeting
                lines = []
                for command in ("restrict", *commands):
                    writer.write(f"{command}\n".encode())
                    lines += await _answer(reader)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise KernelError(f"BIRD does not answer at {SOCKET} within {_TIMEOUT_S:g} s") from None
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        why = getattr(error, "strerror", None) or "it ended in the middle"
        raise KernelError(f"BIRD does not answer at {SOCKET} ({why}); start it, or see its log") from None
    return lines


async def _answer(reader: asyncio.StreamReader) -> list[str]:
    """Read one answer: its last line has a space behind the code; the others a minus, or begin with a space."""
    lines: list[str] = []
    size = 0
    while True:
        raw = await reader.readuntil(b"\n")
        size += len(raw)
        if size > _MOST:
            raise ValueError("too long")
        line = raw.decode(errors="replace").rstrip("\n")
        match = _REPLY.match(line)
        if match is None:
            lines.append(line[1:])
            continue
        code, last, text = int(match[1]), match[2] == " ", match[3]
        if code >= _FIRST_ERROR and code != _NOT_FOUND:
            raise KernelError(f"BIRD does not understand: {text[:200]}")
        lines.append(text)
        if last:
            return lines
