"""BIRD, the routing daemon of this machine, asked over its control socket: its sessions, and what it announces.

Read only: each connection is restricted first. BIRD announces an address because it is on the loopback link; the
agent never tells it to.
"""

import asyncio
import re
from collections.abc import Collection
from pathlib import Path

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.control_sockets import conversation
from wgfleet.agent.kernel.host_addresses import prefix_length

_MOST = 256 * 1024  # bytes of an answer
_NOT_FOUND = 8001
_FIRST_ERROR = 8000
_REPLY = re.compile(r"(\d{4})([ -])(.*)")
_SOURCE = re.compile(r"\[(\S+) [^\]]*\]")


class _RefusedError(KernelError):
    """BIRD answers, and cannot do what it was asked for."""


class Bird:
    """BIRD, versions 2 and 3, at its usual socket below `root`."""

    name = "BIRD"
    see = "birdc show protocols"
    to_announce = "let it take the addresses of lo, and let its export filters pass them"

    def __init__(self, root: Path = Path("/")) -> None:
        self.socket = root / "run/bird/bird.ctl"

    async def sessions(self) -> list[str]:
        """Return the names of BIRD's sessions with routers that are up; raise `KernelError` if it does not answer."""
        return _established(await self._ask("show protocols"))

    async def announces(self, address: str, sessions: Collection[str]) -> bool:
        """Tell whether BIRD announces an address by one of its sessions."""
        for name in sessions:
            try:
                lines = await self._ask(f"show route {address}/{prefix_length(address)} export {name}")
            except _RefusedError:  # a session of the other IP version has no table for it; or it went down just now
                continue
            if any(_SOURCE.search(line) for line in lines):
                return True
        return False

    async def claimant(self, address: str) -> str | None:
        """Return by which session a router says that another machine has an address; None if none does."""
        lines = await self._ask("show protocols", f"show route {address}/{prefix_length(address)}")
        up = set(_established(lines))
        found = [match[1] for line in lines if (match := _SOURCE.search(line)) and match[1] in up]
        return found[0] if found else None

    async def _ask(self, *commands: str) -> list[str]:
        """Return the lines of the answers, one after the other, without their codes."""
        lines: list[str] = []
        async with conversation(self.name, self.socket, _MOST) as (reader, writer):
            await _answer(reader)  # its greeting
            for command in ("restrict", *commands):
                writer.write(f"{command}\n".encode())
                lines += await _answer(reader)
        return lines


def _established(lines: list[str]) -> list[str]:
    words = [line.split() for line in lines]
    return [each[0] for each in words if len(each) > 1 and each[1] == "BGP" and "Established" in each]


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
            raise _RefusedError(f"BIRD does not understand: {text[:200]}")
        lines.append(text)
        if last:
            return lines
