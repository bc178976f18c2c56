"""The watch stream of an agent as the panel reads it: one TLS connection, one request, and an answer without end.

By hand, on asyncio's protocols: of hundreds of nodes each says something several times a second, and an HTTP client
for all purposes costs more than what is done with the words.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn, cast

import h11

from wgfleet.panel.agents import answers
from wgfleet.panel.agents.attention import Attention
from wgfleet.panel.agents.chunks import ChunkError, Chunks
from wgfleet.panel.agents.connecting import HUNG_UP, AgentWay, lost, open_line
from wgfleet.panel.errors import TransientError
from wgfleet.protocol.reasons import Reason

HEAD_LIMIT = 16 * 2**10  # bytes before an answer, and of a refusal; an agent of ours sends some 200
AT_ONCE = 16 * 2**10  # bytes, as many as a TLS record has, before it is seen whether so much is read of one agent
CLOSING_S = 1.0
_PATH = "/v1/watch"
_ENDED = Reason("ended the watch stream")
_CALL = f"(GET {_PATH})"

Headers = Sequence[tuple[str, str]]


async def read(way: AgentWay, headers: Headers, stream: "WatchStream", connect_s: float) -> NoReturn:
    """Call the agent, and give `stream` what it says until it ends, which raises TransientError or AgentRefused."""
    try:
        await open_line(way, stream, stream.came, connect_s, _CALL)
        stream.begin(headers)
        await stream.ended
        raise AssertionError("a stream ends with an error")
    finally:
        await stream.close()


class WatchStream(asyncio.Protocol):
    """The answer to one request for the stream. `take` is called with each line that is not empty.

    `ended` is done, with an error, when there will be no more. `silence_s`: after which an agent is given up.
    """

    def __init__(self, attention: Attention, take: Callable[[bytes], None], silence_s: float) -> None:
        self.label = attention.label
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._attention = attention
        self._take_line = take
        self._silence_s = silence_s
        self._closed = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = self._loop.time()
        self._asked = False
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        self._head_size = 0
        self._refusal: tuple[int, bytearray] | None = None
        self._chunks: Chunks | None = None
        self._unended = bytearray()  # not in parts as they came: each may be a byte, and take fifty times as much

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection, whose TLS is up."""
        self._transport = cast("asyncio.Transport", transport)

    def begin(self, headers: Headers) -> None:
        """Ask for the stream on a connection that is up."""
        if self._transport is None or self.ended.done():
            return
        self._asked = True
        request = h11.Request(method="GET", target=_PATH, headers=list(headers))
        self._transport.write((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        self._heard_at = self._loop.time()
        self._timer = self._loop.call_later(self._silence_s, self._look)

    async def close(self) -> None:
        """Close the connection."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.cancel() and not self.ended.cancelled():
            self.ended.exception()  # somebody knows of it
        if self._transport is not None:
            self._transport.abort()
            await asyncio.wait([self._closed], timeout=CLOSING_S)

    def _lost(self, error: Exception | None) -> TransientError:
        """Return what to raise for a connection that broke."""
        return lost(self.label, _CALL, error, ended=HUNG_UP if self._chunks is None else _ENDED)

    def came(self, size: int) -> None:
        """Count what came on the line, whatever it is."""
        if self.ended.done():
            return
        try:
            self._attention.count(size)
        except TransientError as error:
            self._fail(error)

    def data_received(self, data: bytes) -> None:
        """Take what the agent said."""
        if self.ended.done():
            return
        self._heard_at = self._loop.time()
        try:
            body = data if self._chunks is not None else self._begun(data)
            if self._chunks is not None:
                for at in range(0, len(body), AT_ONCE):
                    self._listen(self._chunks, body[at : at + AT_ONCE])
        except h11.RemoteProtocolError as error:
            self._fail(answers.nonsense(self.label, error))
        except ChunkError as error:
            self._fail(answers.nonsense(self.label, error))
        except Exception as error:  # noqa: BLE001 - raised where the stream is waited for
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that there is no connection any more."""
        if not self._closed.done():
            self._closed.set_result(None)
        if self._refusal is not None and exc is None:
            self.data_received(b"")  # a refusal that ends with its connection
        self._fail(self._lost(exc))

    def _look(self) -> None:
        """Look whether the agent has been silent for too long; else look again when that may be."""
        left_s = self._heard_at + self._silence_s - self._loop.time()
        if left_s <= 0:
            self._fail(TransientError(Reason("{node}: has gone silent {call}", node=self.label, call=_CALL)))
        else:
            self._timer = self._loop.call_later(left_s, self._look)

    def _fail(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    def _begun(self, data: bytes) -> bytes:
        """Read on in what comes before the stream; return what of it has come."""
        if not self._asked:
            raise answers.nonsense(self.label, ValueError("speaks before it is asked"))
        room = HEAD_LIMIT - self._head_size
        part, rest = data[:room], data[room:]
        self._head_size += len(part)
        self._http.receive_data(part)
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if rest or self._head_size >= HEAD_LIMIT:
                    what = Reason("before its answer begins") if self._refusal is None else Reason("to refuse a call")
                    raise TransientError(
                        Reason(
                            "{node}: sends more than {head_limit} bytes {what} {call}",
                            node=self.label,
                            head_limit=HEAD_LIMIT,
                            what=what,
                            call=_CALL,
                        )
                    )
                return b""
            if isinstance(event, h11.Response):
                if event.status_code // 100 == 2:  # noqa: PLR2004 - of success
                    self._chunks = self._framed(event)
                    return self._http.trailing_data[0] + rest
                self._refusal = (event.status_code, bytearray())
            elif isinstance(event, h11.Data) and self._refusal is not None:
                self._refusal[1].extend(event.data)
            elif isinstance(event, h11.EndOfMessage) and self._refusal is not None:
                raise answers.failure(self.label, self._refusal[0], bytes(self._refusal[1]))
            elif not isinstance(event, h11.InformationalResponse):
                raise self._lost(None)

    def _framed(self, response: h11.Response) -> Chunks:
        if (b"transfer-encoding", b"chunked") not in list(response.headers):
            raise answers.nonsense(self.label, ValueError("a watch stream comes in chunks"))
        return Chunks()

    def _listen(self, chunks: Chunks, data: bytes) -> None:
        pieces = chunks.feed(data)
        *lines, rest = (pieces[0] if len(pieces) == 1 else b"".join(pieces)).split(b"\n")
        # What comes at once is far less than a message may have: only one that came in several parts can be too long.
        self._attention.check("a watch message", len(self._unended) + len(lines[0] if lines else rest))
        self._attention.count(0, len(pieces) + len(lines))  # its bytes were counted as they came
        for line in lines:
            if self._unended:
                whole, self._unended = bytes(self._unended + line), bytearray()
            else:
                whole = line
            if whole:
                self._take_line(whole)
        self._unended += rest
        if chunks.ended:
            raise TransientError(Reason("{node}: ended the watch stream {call}", node=self.label, call=_CALL))
