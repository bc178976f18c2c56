"""The opening of connections to agents where packets get lost: soon another try beside the first, and not TCP's own.

TCP repeats a lost first packet after a second (RFC 6298, 5.7), and for as long clients of a dead node would wait for
the call that gives them another.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from wgfleet.panel import clock
from wgfleet.panel.agents.tls import begin_tls
from wgfleet.panel.domain.fields import is_address

if TYPE_CHECKING:
    import socket

FIRST_S, LATER_S = 0.15, 0.3  # until a second try; after that, until a third
USUAL = 2.0  # times what a connection took at least: a try that is only under way is not repeated

_NEXT_ADDRESS_S = 0.25  # RFC 8305, section 5

T = TypeVar("T")


class ConnectionTries:
    """Opens connections to one machine: of a few tries side by side, the first that is answered."""

    def __init__(self) -> None:
        self._least_s = 0.0
        self._ending: set[asyncio.Task[None]] = set()

    async def first(self, open_one: Callable[[], Coroutine[Any, Any, T]], close: Callable[[T], Awaitable[object]]) -> T:
        """Return the first connection of those that `open_one` begins; `close` ends one that is not needed."""

        def begin() -> asyncio.Task[T]:
            return asyncio.create_task(open_one())

        begun = clock.monotonic()
        tries = [begin()]
        try:
            for pause_s in self._pauses():
                done, _ = await asyncio.wait(tries, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    break
                tries.append(begin())
            else:
                done, _ = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
            up = next((each for each in done if each.exception() is None), next(iter(done)))
            opened = up.result()
            if up is tries[0]:
                took_s = clock.monotonic() - begun
                self._least_s = min(self._least_s or took_s, took_s)
            tries.remove(up)
            return opened
        finally:
            self._end(tries, close)

    async def end(self) -> None:
        """Wait until all tries that were not needed are closed."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _pauses(self) -> tuple[float, ...]:
        usual_s = USUAL * self._least_s
        return max(FIRST_S, usual_s), max(LATER_S, usual_s)

    def _end(self, tries: list[asyncio.Task[T]], close: Callable[[T], Awaitable[object]]) -> None:
        """End what is not needed, in a task of its own: who waits for the connection may be cancelled."""
        if tries:
            for each in tries:
                each.cancel()
            task = asyncio.create_task(_close(tries, close))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


@dataclass(frozen=True, slots=True)
class AgentWay:
    """How an agent is reached: where it listens, as which TLS server, with which options of the socket."""

    host: str
    port: int
    server_name: str
    tls: ssl.SSLContext
    options: Sequence[tuple[int, int, int]]
    tries: ConnectionTries


async def open_line(way: AgentWay, protocol: asyncio.Protocol, came: Callable[[int], None], connect_s: float) -> None:
    """Connect, and shake hands; `protocol` gets the connection then, `came` the sizes of what comes from the first on.

    Raise TimeoutError where one of both takes longer than `connect_s`, another OSError where it fails.
    """
    loop = asyncio.get_running_loop()
    # Only where there may be several addresses: when it is cancelled, asyncio loses a socket that has just come up.
    delay_s = None if is_address(way.host) else _NEXT_ADDRESS_S

    async def connect() -> asyncio.Transport:
        transport, _ = await loop.create_connection(asyncio.Protocol, way.host, way.port, happy_eyeballs_delay=delay_s)
        return transport

    async with asyncio.timeout(connect_s):
        line = await way.tries.first(connect, end_line)
    try:
        opened: socket.socket = line.get_extra_info("socket")
        for option in way.options:
            opened.setsockopt(*option)
        async with asyncio.timeout(connect_s):
            await begin_tls(line, protocol, way.tls, way.server_name, came)
    except BaseException:
        await end_line(line)
        raise


async def end_line(line: asyncio.Transport) -> None:
    """Close a connection at once, whatever is under way on it."""
    line.abort()
    await asyncio.sleep(0)  # until it is closed


async def _close(tries: list[asyncio.Task[T]], close: Callable[[T], Awaitable[object]]) -> None:
    for result in await asyncio.gather(*tries, return_exceptions=True):
        if not isinstance(result, BaseException):
            await close(result)
