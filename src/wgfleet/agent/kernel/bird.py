"""BIRD, the routing daemon of this machine, asked over its control socket: its sessions, and what it announces.

Read only: each connection is restricted first. BIRD announces an address because it is on the loopback link; the
agent never tells it to.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.control_sockets import conversation, parts
from wgfleet.protocol.addresses import host_network

_MOST = 256 * 1024  # bytes of an answer
_NOT_FOUND = 8001
_FIRST_ERROR = 8000
_STATE = 2  # of the words on a BFD session, behind neighbor and link
_REPLY = re.compile(r"(\d{4})([ -])(.*)")
_NEIGHBOR = re.compile(r"\s*Neighbor address: (\S+)")
_SOURCE = re.compile(r"\[(\S+) [^\]]*\]")
Ask = Callable[[str], Awaitable[list[str]]]


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
        async with self._conversation() as ask:
            return _established(await ask("show protocols"))

    async def announced(self, addresses: Collection[str], sessions: Collection[str]) -> set[str]:
        """Return the addresses that BIRD announces by one of these sessions."""
        found: set[str] = set()
        for some in parts([(session, address) for session in sessions for address in addresses]):
            async with self._conversation() as ask:
                for session, address in some:
                    if address not in found and await _exports(ask, session, address):
                        found.add(address)
        return found

    async def unguarded(self, sessions: Collection[str]) -> set[str]:
        """Return those of these sessions whose neighbor no BFD watches."""
        async with self._conversation() as ask:
            watched = await _watched(ask)
            neighbors = {session: await ask(f"show protocols all {session}") for session in sessions}
        found = {
            session: {match[1].partition("%")[0] for line in lines if (match := _NEIGHBOR.match(line))}
            for session, lines in neighbors.items()
        }
        return {session for session, addresses in found.items() if addresses and not addresses & watched}

    async def claimant(self, address: str) -> str | None:
        """Return by which session a router says that another machine has an address; None if none does."""
        async with self._conversation() as ask:
            up = set(_established(await ask("show protocols")))
            lines = await ask(f"show route {host_network(address)}")
        found = [match[1] for line in lines if (match := _SOURCE.search(line)) and match[1] in up]
        return found[0] if found else None

    @asynccontextmanager
    async def _conversation(self) -> AsyncIterator[Ask]:
        """Give what asks a command, and returns the lines of the answer without their codes."""
        async with conversation(self.name, self.socket, _MOST) as (reader, writer):

            async def ask(command: str) -> list[str]:
                writer.write(f"{command}\n".encode())
                return await _answer(reader)

            await _answer(reader)  # its greeting
            await ask("restrict")
            yield ask


async def _watched(ask: Ask) -> set[str]:
    """Return the neighbors with which BFD is up."""
    try:
        lines = await ask("show bfd sessions")
    except _RefusedError:  # no BFD is set up
        return set()
    words = [line.split() for line in lines]
    return {each[0].partition("%")[0] for each in words if len(each) > _STATE and each[_STATE] == "Up"}


async def _exports(ask: Ask, session: str, address: str) -> bool:
    try:
        lines = await ask(f"show route {host_network(address)} export {session}")
    except _RefusedError:  # a session of the other IP version has no table for it; or it went down just now
        return False
    return any(_SOURCE.search(line) for line in lines)


def _established(lines: list[str]) -> list[str]:
    words = [line.split() for line in lines]
    return [each[0] for each in words if len(each) > 1 and each[1] == "BGP" and "Established" in each]


async def _answer(reader: asyncio.StreamReader) -> list[str]:
    """Read one answer: its last line has a space behind the code; the others a minus, or begin with a space."""
    lines: list[str] = []
    refusal: str | None = None
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
            refusal = refusal or text
        lines.append(text)
        if last and refusal is not None:
            raise _RefusedError(f"BIRD does not understand: {refusal[:200]}")
        if last:
            return lines
