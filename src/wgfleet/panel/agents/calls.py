"""Calls to one agent: HTTP/1.1 on TLS connections that are kept, one call after another on each.

By hand, on asyncio's protocols and h11, as the watch stream: hundreds of nodes are asked several times a second, and an
HTTP client for all purposes took most of the time of such a call.
"""

import asyncio
import contextlib
import select
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, cast

import h11

from wgfleet.panel import clock
from wgfleet.panel.agents import answers
from wgfleet.panel.agents.attention import Attention
from wgfleet.panel.agents.connecting import AgentWay, lost, open_line
from wgfleet.panel.errors import TransientError
from wgfleet.protocol.reasons import Reason

if TYPE_CHECKING:
    import socket

HEAD_LIMIT = 64 * 2**10  # bytes before an answer begins; its headers have some 200, and `100 Continue` may come first
PART = 64 * 2**10  # bytes that are encrypted, and wait for the other side, at once
SLOWEST = 16 * 2**10  # bytes a second: who takes or gives less is waited for no longer than who is silent
KEPT, KEPT_S = 4, 55.0  # connections that nobody uses: one carries calls, more only while calls overlap
CLOSING_S = 1.0


class AgentCall(NamedTuple):
    """A request. `body`: in parts; `size`: of all of them, None where there is no body.

    `part` is given what comes of the body of a success, as it comes; a TransientError that it raises ends the call.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: Iterable[bytes] = ()
    size: int | None = None
    part: Callable[[bytes], None] | None = None

    @property
    def text(self) -> str:
        """How errors name it: without what may be long."""
        return f"({self.method} {self.target.partition('?')[0]})"

    def head(self) -> h11.Request:
        """Return what stands before the body."""
        headers = [*self.headers.items()]
        if self.size is not None:
            headers.append(("content-length", str(self.size)))
        return h11.Request(method=self.method, target=self.target, headers=headers)


class AgentAnswer(NamedTuple):
    """What was answered, whole."""

    status: int
    body: bytes


class AgentCalls:
    """The connections to one agent for calls. Every fault of the transport is a TransientError; none is tried again."""

    def __init__(self, way: AgentWay, attention: Attention) -> None:
        self._way = way
        self._attention = attention
        self._lines: set[CallLine] = set()  # all that are not closed
        self._idle: list[tuple[CallLine, float]] = []

    async def call(self, call: AgentCall, timeout_s: float, connect_s: float) -> AgentAnswer:
        """Send a request, and return the answer to it.

        `timeout_s`: for each time in which the other side takes nothing, until the answer begins, and for each silence
        within it; who is slower than `SLOWEST` uses it up once for all. `connect_s`: for a connection, and for its TLS.
        """
        line = self._kept() or await self._opened(call, connect_s)
        answer = await line.ask(call, timeout_s)
        if line.is_free and len(self._idle) < KEPT:
            self._idle.append((line, clock.monotonic()))
        else:
            line.abort()
        return answer

    async def aclose(self) -> None:
        """Close all connections, also those that are about to come up; safe to call twice."""
        self._idle.clear()
        for line in self._lines:
            line.abort()
        if self._lines:
            await asyncio.wait([line.closed for line in self._lines], timeout=CLOSING_S)
        await self._way.tries.end()

    def _kept(self) -> "CallLine | None":
        """Take the connection that was used last, if it can be used still."""
        while self._idle:
            line, since = self._idle.pop()
            if clock.monotonic() - since < KEPT_S and line.is_quiet:
                return line
            line.abort()
        return None

    async def _opened(self, call: AgentCall, connect_s: float) -> "CallLine":
        line = CallLine(self._attention)
        await open_line(self._way, line, line.came, connect_s, call.text)
        self._lines.add(line)
        line.closed.add_done_callback(lambda _: self._lines.discard(line))
        return line


class CallLine(asyncio.Protocol):
    """One connection. `closed` is done when it is."""

    def __init__(self, attention: Attention) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._attention = attention
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._call: AgentCall | None = None
        self._answer: asyncio.Future[AgentAnswer] | None = None
        self._status: int | None = None
        self._before = 0  # bytes that came before the answer began
        self._body = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = self._begun_at = self._timeout_s = 0.0

    @property
    def is_free(self) -> bool:
        """Whether it can carry another call."""
        return self._call is None and not self.closed.done() and self._http.our_state is h11.IDLE

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come while nobody asked, which would be the other side's end of it."""
        if not self.is_free or self._transport is None or self._transport.is_closing():
            return False
        opened: socket.socket = self._transport.get_extra_info("socket")
        waiting = select.poll()
        waiting.register(opened.fileno(), select.POLLIN)
        return not waiting.poll(0)

    async def ask(self, call: AgentCall, timeout_s: float) -> AgentAnswer:
        """Send a request on a line that is free, and return the answer; whatever goes wrong ends the line."""
        self._call, self._answer = call, self._loop.create_future()
        self._status, self._before, self._timeout_s = None, 0, timeout_s
        self._body.clear()
        try:
            await self._send(call, self._answer)
            self._heard_at = self._begun_at = self._loop.time()
            self._timer = self._loop.call_later(timeout_s, self._look)
            answer = await self._answer
        except TimeoutError as error:
            self.abort()
            raise self._silent(call) from error
        except BaseException:
            self.abort()
            raise
        else:
            if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                self._http.start_next_cycle()
            return answer
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if not self._answer.cancel() and not self._answer.cancelled():
                self._answer.exception()  # somebody knows of it
            self._call = self._answer = self._timer = None

    def abort(self) -> None:
        """Close the connection, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection, whose TLS is up."""
        self._transport = cast("asyncio.Transport", transport)
        self._writable.set()

    def pause_writing(self) -> None:
        """Note that the other side does not read as fast as it is sent."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that more may be sent."""
        self._writable.set()

    def came(self, size: int) -> None:
        """Count what came on the line, whatever it is."""
        try:
            self._attention.count(size)
        except TransientError as error:
            self._fail(error)

    def data_received(self, data: bytes) -> None:
        """Take what the agent said."""
        if self._answer is None or self._answer.done():
            self.abort()  # it speaks, and was not asked
            return
        try:
            self._read(data, self._answer)
        except h11.RemoteProtocolError as error:
            self._fail(answers.nonsense(self._attention.label, error))
        except TransientError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that there is no connection any more."""
        if self._status is not None and self._answer is not None and not self._answer.done() and exc is None:
            with contextlib.suppress(h11.RemoteProtocolError, TransientError):
                self._read(b"", self._answer)  # where an answer ends with its connection, it is whole now
        if not self.closed.done():
            self.closed.set_result(None)
        if self._call is not None:
            self._fail(lost(self._attention.label, self._call.text, exc))
        self._writable.set()

    async def _send(self, call: AgentCall, answer: asyncio.Future[AgentAnswer]) -> None:
        """Write the request, part by part as the other side reads, but no more of it once there is an answer."""
        if self._transport is None or self.closed.done():
            raise lost(self._attention.label, call.text, None)
        begun_at, taken = self._loop.time(), 0
        waiting = bytearray(self._http.send(call.head()) or b"")
        for part in call.body:
            waiting += self._http.send(h11.Data(part)) or b""
            if len(waiting) >= PART:
                await self._taken(bytes(waiting), begun_at + taken / SLOWEST)
                taken += len(waiting)
                waiting.clear()
            if answer.done():
                return
        waiting += self._http.send(h11.EndOfMessage()) or b""
        await self._taken(bytes(waiting), begun_at + taken / SLOWEST)

    async def _taken(self, data: bytes, owed_since: float) -> None:
        """Write some of a request, and wait until the other side takes it, or has answered already."""
        if self._transport is None:
            return
        self._transport.write(data)
        now = self._loop.time()
        async with asyncio.timeout_at(min(now, owed_since) + self._timeout_s):
            await self._writable.wait()

    def _read(self, data: bytes, answer: asyncio.Future[AgentAnswer]) -> None:
        if self._status is None:
            self._before += len(data)
        else:
            self._heard_at = self._loop.time()
        self._http.receive_data(data)
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                self._attention.count(0)  # its bytes were counted as they came
                self._body += event.data
                self._attention.check("an answer", len(self._body))
                if self._call is not None and self._call.part is not None and (self._status or 0) // 100 == 2:  # noqa: PLR2004 - of success
                    self._call.part(event.data)
            elif isinstance(event, h11.Response):
                self._status = event.status_code
                self._heard_at = self._begun_at = self._loop.time()
            elif isinstance(event, h11.EndOfMessage):
                answer.set_result(AgentAnswer(self._status or 0, bytes(self._body)))
                self._writable.set()  # who sends need not wait for the other side to read on
                if self._http.trailing_data[0]:
                    self.abort()
                return
            elif not isinstance(event, h11.InformationalResponse):
                break  # it needs more, or there will be no more
        if self._status is None and self._before > HEAD_LIMIT:
            raise TransientError(
                Reason(
                    "{node}: sends more than {head_limit} bytes before its answer begins {said}",
                    node=self._attention.label,
                    head_limit=HEAD_LIMIT,
                    said=self._said,
                )
            )

    def _look(self) -> None:
        """Look whether the agent has been silent for too long; else look again when that may be."""
        owed_since = min(self._heard_at, self._begun_at + len(self._body) / SLOWEST)
        left_s = owed_since + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        elif self._call is not None:
            self._fail(self._silent(self._call))

    def _silent(self, call: AgentCall) -> TransientError:
        return TransientError(Reason("{node}: has gone silent {call}", node=self._attention.label, call=call.text))

    @property
    def _said(self) -> str:
        return "" if self._call is None else self._call.text

    def _fail(self, error: TransientError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.abort()
