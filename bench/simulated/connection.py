"""HTTP/1.1 of a simulated agent, written by hand: one protocol object a connection, no task and no library between.

A simulator that costs as much as the panel would measure itself.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

_UNREAD = 512 * 1024  # bytes that a stream may owe; what comes then is dropped and counted
_REASONS = {200: "OK", 204: "No Content"}


@dataclass(slots=True)
class Tally:
    """What all agents have sent on their streams, and `dropped` because the panel did not read."""

    samples: int = 0
    messages: int = 0
    sent_bytes: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was read whole. Names of `headers` are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back, `after_s` from now. `body` None: a stream begins."""

    status: int
    body: bytes | None = b""
    after_s: float = 0.0


class Answering(Protocol):
    """An agent as its connections see it."""

    silent: bool

    def objection(self, certificate: dict[str, object] | None) -> str | None: ...
    def answer(self, request: Request) -> Answer: ...
    def opened(self, connection: "AgentConnection") -> None: ...
    def closed(self, connection: "AgentConnection") -> None: ...
    def streams(self, stream: "AgentConnection") -> None: ...


class AgentConnection(asyncio.Protocol):
    """A connection of the panel."""

    def __init__(self, agent: Answering, tally: Tally) -> None:
        self._tally = tally
        self._agent = agent
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server makes nothing else
        self._transport = transport
        self._agent.opened(self)
        self.check()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._agent.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._agent.silent:
            return
        self._received += data
        self._next()

    def check(self) -> None:
        """End it unless the other side is the panel."""
        if self._transport is not None and self._agent.objection(self._transport.get_extra_info("peercert")):
            self._transport.abort()

    def abort(self) -> None:
        """End it without a word."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, line: bytes, samples: int = 0) -> None:
        """Send a line of a stream, unless the other side does not read. `samples`: how many peers it has."""
        if self._transport is None or self._agent.silent:
            return
        if self._transport.get_write_buffer_size() > _UNREAD:
            self._tally.dropped += 1
            return
        self._tally.samples += samples
        self._tally.messages += 1
        self._tally.sent_bytes += len(line)
        self._transport.write(b"%x\r\n%b\r\n" % (len(line), line))

    def _next(self) -> None:
        """Answer the next request that is there whole; a second one waits until the first has its answer."""
        if self._busy or (request := self._take()) is None:
            return
        answer = self._agent.answer(request)
        if answer.after_s:
            self._busy = True
            asyncio.get_running_loop().call_later(answer.after_s, self._respond, answer)
        else:
            self._respond(answer)

    def _take(self) -> Request | None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        until = end + 4 + int(headers.get("content-length", 0))
        if len(self._received) < until:
            return None
        body = bytes(self._received[end + 4 : until])
        del self._received[:until]
        method, target, _ = first.split(" ")
        url = urlsplit(target)
        return Request(method, url.path, dict(parse_qsl(url.query)), headers, body)

    def _respond(self, answer: Answer) -> None:
        self._busy = False
        if self._transport is None or self._agent.silent:
            return
        status = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Refused')}\r\n"
        if answer.body is None:
            head = f"{status}content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
            self._transport.write(head.encode())
            self._agent.streams(self)
            return
        head = f"{status}content-type: application/json\r\ncontent-length: {len(answer.body)}\r\n\r\n"
        self._transport.write(head.encode() + answer.body)
        if self._received:
            self._next()
