"""Pipes between exabgp and a process that it runs: commands out, answers in. Knows exabgp's words, decides nothing."""

import asyncio
import re
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.exabgp import ExabgpState
from wgfleet.agent.kernel.host_addresses import prefix_length
from wgfleet.protocol.quotes import quoted

_TIMEOUT_S = 0.8  # less than the agent has; exabgp looks at its pipes a hundred times a second
_MOST = 2000  # lines of an answer: a router that tells this machine of all the world's networks is set up wrongly
_DONE, _ERROR = "done", "error"
_ROUTE = re.compile(r"neighbor (\S+) ipv[46] unicast ([0-9a-f.:]+)/(\d+)(?: |$)")


@dataclass
class _Question:
    lines: list[str] = field(default_factory=list)
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class ExabgpPipes:
    """Commands to exabgp, one after the other, each with its answer."""

    def __init__(self) -> None:
        self._waiting: deque[_Question] = deque()
        self._lock = asyncio.Lock()

    async def read(self) -> None:
        """Read what exabgp says until it has ended."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
        )
        while raw := await reader.readline():
            line = raw.decode(errors="replace").strip()
            if not self._waiting:
                continue  # no answer: that it ends, for example
            question = self._waiting[0]
            if line in {_DONE, _ERROR}:
                self._waiting.popleft()
                if not question.ended.done():
                    question.ended.set_result(line)
            elif len(question.lines) <= _MOST:
                question.lines.append(line)

    async def ask(self, command: str) -> list[str]:
        """Return the lines of an answer; raise `KernelError` if exabgp does not answer in time, or refuses."""
        async with self._lock:
            # An answer that comes too late is still that of its own question, so the next one has to wait for it.
            if self._waiting:
                await _end(self._waiting[0])
            question = _Question()
            self._waiting.append(question)
            sys.stdout.write(f"{command}\n")
            sys.stdout.flush()
            if await _end(question) == _ERROR:
                raise KernelError(f"exabgp refuses {quoted(command)}: no neighbor has this process, or see its log")
            if len(question.lines) > _MOST:
                raise KernelError(
                    f"exabgp has more than {_MOST} routes; let routers tell it of floating addresses only"
                )
            return question.lines

    async def state(self) -> ExabgpState:
        """Ask for its sessions, for what it announces, and for what routers tell it; raise `KernelError` as `ask`."""
        summary = await self.ask("show neighbor summary")
        outgoing = await self.ask("show adj-rib out")
        incoming = await self.ask("show adj-rib in")
        sessions = tuple(line.split()[0] for line in summary if line and not line.startswith("Peer "))
        return ExabgpState(sessions, _neighbors(outgoing), _neighbors(incoming))


async def _end(question: _Question) -> str:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await asyncio.shield(question.ended)
    except TimeoutError:
        raise KernelError(
            f"exabgp does not answer its process within {_TIMEOUT_S:g} s (its setting exabgp.api.ack has to be true)"
        ) from None


def _neighbors(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the neighbors by the single addresses that exabgp tells them, or they tell it."""
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        match = _ROUTE.match(line)
        if match and match[3] == str(prefix_length(match[2])):
            found[match[2]] = (*found.get(match[2], ()), match[1])
    return found
