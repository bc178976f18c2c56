"""The opening of connections to agents where packets get lost: soon another try beside the first, and not TCP's own.

TCP repeats a lost first packet after a second (RFC 6298, 5.7), and for as long clients of a dead node would wait for
the call that gives them another.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from wgfleet.panel import clock
from wgfleet.panel.agents import claims
from wgfleet.panel.agents.answers import AgentAway
from wgfleet.panel.agents.tls import begin_tls
from wgfleet.panel.domain.fields import is_address
from wgfleet.protocol.reasons import Reason

HUNG_UP = Reason("hung up")
FIRST_S, LATER_S = 0.15, 0.3  # until a second try; after that, until a third
USUAL = 2.0  # times what a connection took at least: a try that is only under way is not repeated
UNACKNOWLEDGED_MS = 5000  # data that the other machine does not confirm for so long: it is gone

# All agents are called at once when a panel starts. Hundreds of handshakes side by side end all together, and where the
# processor is short none of them within its time: then all begin again, and again.
HANDSHAKES = 32  # at a time in an event loop: far nodes take their time, and no processor
HELD_S = 0.5  # until the next one begins beside one that is not answered
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

_NEXT_ADDRESS_S = 0.25  # RFC 8305, section 5
_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS),
    # A machine that vanished while it owes an answer is noticed by keep-alive, in 3 + 3 * 1 s.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class ConnectionTries:
    """Opens connections to one machine: of a few tries side by side, the first that is answered."""

    def __init__(self) -> None:
        self._least_s = 0.0
        self._ending: set[asyncio.Task[None]] = set()

    async def first(self, open_one: Callable[[], Coroutine[Any, Any, asyncio.Transport]]) -> asyncio.Transport:
        """Return the first connection of those that `open_one` begins, and end those that are not needed."""

        def begin() -> asyncio.Task[asyncio.Transport]:
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
            self._end(tries)

    async def end(self) -> None:
        """Wait until all tries that were not needed are closed."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _pauses(self) -> tuple[float, ...]:
        usual_s = USUAL * self._least_s
        return max(FIRST_S, usual_s), max(LATER_S, usual_s)

    def _end(self, tries: list[asyncio.Task[asyncio.Transport]]) -> None:
        """End what is not needed, in a task of its own: who waits for the connection may be cancelled."""
        if tries:
            for each in tries:
                each.cancel()
            task = asyncio.create_task(_close(tries))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


@dataclass(frozen=True, slots=True)
class AgentWay:
    """How an agent is reached: how errors call it, where it listens, and as which TLS server."""

    label: str

    host: str
    port: int
    server_name: str
    tls: ssl.SSLContext
    tries: ConnectionTries


async def open_line(
    way: AgentWay, protocol: asyncio.Protocol, came: Callable[[int], None], connect_s: float, call: str
) -> None:
    """Connect, and shake hands; `protocol` gets the connection then, `came` the sizes of what comes from the first on.

    Raise AgentAway where one of both takes longer than `connect_s`, or fails. `call`: how it names what for.
    """
    try:
        await _open(way, protocol, came, connect_s)
    except TimeoutError as error:
        detail = Reason("{node}: cannot be reached in time {call}", node=way.label, call=call)
        told = Reason("it does not answer at {host}, port {port}, in time", host=way.host, port=way.port)
        raise AgentAway(detail, told) from error
    except OSError as error:  # also of TLS
        raise lost(way.label, call, error, way=way) from error


async def is_taken(way: AgentWay, within_s: float) -> bool:
    """Tell whether the kernel of the agent's machine takes a connection to it, whatever the agent itself does."""
    try:
        async with asyncio.timeout(within_s):
            line, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, way.host, way.port)
    except OSError:  # also a time-out
        return False
    await end_line(line)
    return True


def lost(
    label: str, call: str, error: Exception | None, *, ended: str = HUNG_UP, way: AgentWay | None = None
) -> AgentAway:
    """Return what to raise for a connection that broke, or did not come up; `ended`: what to say of one that ended.

    `way`: to where one did not come up.
    """
    words = ended if error is None else _known(error, way) or claims.words(str(error)) or type(error).__name__
    return AgentAway(Reason("{node}: {words} {call}", node=label, words=words, call=call), words)


def _known(error: Exception, way: AgentWay | None) -> str | None:
    """Return what an error of the system says, where people can have it in their language."""
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError):
        return None
    if way is not None and error.errno == errno.ECONNREFUSED:
        return Reason("nobody listens at {host}, port {port}", host=way.host, port=way.port)
    if way is not None and error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
        return Reason("no packet gets to {host}", host=way.host)
    return HUNG_UP if error.errno in {errno.ECONNRESET, errno.EPIPE} else None


async def _open(way: AgentWay, protocol: asyncio.Protocol, came: Callable[[int], None], connect_s: float) -> None:
    loop = asyncio.get_running_loop()
    # Only where there may be several addresses: when it is cancelled, asyncio loses a socket that has just come up.
    delay_s = None if is_address(way.host) else _NEXT_ADDRESS_S

    async def connect() -> asyncio.Transport:
        transport, _ = await loop.create_connection(asyncio.Protocol, way.host, way.port, happy_eyeballs_delay=delay_s)
        return transport

    async with asyncio.timeout(connect_s):
        line = await way.tries.first(connect)
    try:
        opened: socket.socket = line.get_extra_info("socket")
        for option in _OPTIONS:
            opened.setsockopt(*option)
        async with _handshake_turn(), asyncio.timeout(connect_s):
            await begin_tls(line, protocol, way.tls, way.server_name, came)
    except BaseException:
        await end_line(line)
        raise


@asynccontextmanager
async def _handshake_turn() -> AsyncIterator[None]:
    """Wait for one's turn, and have it for a block, or for `HELD_S`."""
    loop = asyncio.get_running_loop()
    turns = _turns.setdefault(loop, asyncio.Semaphore(HANDSHAKES))
    await turns.acquire()
    held = loop.call_later(HELD_S, turns.release)
    try:
        yield
    finally:
        if loop.time() < held.when():
            held.cancel()
            turns.release()


async def end_line(line: asyncio.Transport) -> None:
    """Close a connection at once, whatever is under way on it."""
    line.abort()
    await asyncio.sleep(0)  # until it is closed


async def _close(tries: list[asyncio.Task[asyncio.Transport]]) -> None:
    for result in await asyncio.gather(*tries, return_exceptions=True):
        if not isinstance(result, BaseException):
            await end_line(result)
