"""The panel's door: connections until they have shown a valid API key are few, short and cheap.

Stands between the sockets and uvicorn's HTTP protocol, and around the application. The application says with
`Visit.known` that a key was valid; the connection is then one of this key's, which are many, and only the headers of a
request have a time. An answer that is not fetched ends any connection.
"""

import array
import asyncio
import contextlib
import fcntl
import logging
import ssl
import sys
import termios
from collections.abc import Callable
from typing import cast

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from wgfleet.doors.folding import Folding
from wgfleet.doors.sockets import read_little
from wgfleet.doors.strangers import Stranger, StrangerLimits, Strangers, has_sent, source_of
from wgfleet.doors.tls import begin_tls
from wgfleet.panel import clock
from wgfleet.panel.accepting import Crowd
from wgfleet.panel.forwarded_scheme import with_forwarded_scheme
from wgfleet.panel.settings.door import DoorSettings
from wgfleet.panel.siblings import Siblings

VISIT = "visit"
"""Under which name the state of a request's scope has its connection, a `Visit`."""
SPOKEN = 4
"""Times as many strangers of an address where all have sent something: a program's calls that come at once."""
LEAST_FETCHED = 4096
"""How many bytes of an answer a client fetches within `fetch_s` at least."""

MakeHttp = Callable[["Visit"], asyncio.Protocol]

log = structlog.get_logger()


class Door:
    """All listeners' connections, and the application behind them."""

    def __init__(self, settings: DoorSettings, siblings: Siblings | None = None) -> None:
        """Of several processes each has its share of what is allowed: one cannot end the connections of another."""
        siblings = siblings or Siblings()
        self.settings = settings
        self.crowd = Crowd(siblings)
        of_address, of_all = siblings.share_of(settings.strangers_per_address), siblings.share_of(settings.strangers)
        self.strangers = Strangers(StrangerLimits(of_address, of_all, of_all, SPOKEN))
        most = siblings.share_of(settings.connections_per_key)
        self.callers = Strangers(StrangerLimits(most, most, sys.maxsize))  # by API key

    def visit(self, make_http: MakeHttp, context: ssl.SSLContext | None) -> "Visit":
        """Return the protocol of a new connection: TLS where there is a context, then HTTP."""
        return Visit(self, make_http, context)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return an application that also tells each connection when its requests begin and end."""

        async def told(scope: Scope, receive: Receive, send: Send) -> None:
            visit = scope.get("state", {}).get(VISIT)
            if visit is None:
                await app(scope, receive, send)
                return
            visit.begun()
            try:
                await app(with_forwarded_scheme(scope) if visit.of_trusted_proxy else scope, receive, send)
            finally:
                visit.answered()

        return told


class Visit(asyncio.Protocol):
    """One connection."""

    def __init__(self, door: Door, make_http: MakeHttp, context: ssl.SSLContext | None) -> None:
        self._door = door
        self._make_http = make_http
        self._context = context
        self._http: asyncio.Protocol | None = None
        self._stranger: Stranger | None = None
        self._caller: Stranger | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._unfetched: asyncio.TimerHandle | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._early: list[bytes] = []  # received together with the end of the handshake
        self._requests = 0
        self._is_there = True
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)

    def known(self, key_id: str) -> None:
        """Take note that a valid key was shown: the connection counts as one of that key from now on."""
        if self._stranger is not None:
            self._door.strangers.leave(self._stranger)
            self._stranger = None
            self._wait(None)
        if self._caller is None or self._caller.source != key_id:
            self._forget_caller()
            self._caller = self._door.callers.enter(key_id, self._end, lambda: True)
            self._caller.busy = True

    def begun(self) -> None:
        """Take note that the headers of a request are complete."""
        self._requests += 1
        if self._caller is not None:
            self._caller.busy = True
        if self._stranger is None:
            self._wait(None)
        else:
            self._stranger.busy = True
            self._wait(self._door.settings.answer_s)

    def answered(self) -> None:
        """Take note that a request was answered, or given up."""
        self._requests -= 1
        if self._requests or self._transport.is_closing():
            return
        for each in filter(None, (self._stranger, self._caller)):
            each.busy = False
        self._wait(self._door.settings.request_s)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        read_little(transport)
        address = (transport.get_extra_info("peername") or ("unknown",))[0]
        self.of_trusted_proxy = address in self._door.settings.trusted_proxies
        connection = transport.get_extra_info("socket")
        self._stranger = self._door.strangers.enter(
            source_of(address),
            self._end,
            lambda: has_sent(connection),
            favored=self.of_trusted_proxy,
        )
        # TLS and HTTP begin with the first byte: most strangers never send one.
        self._wait(self._door.settings.request_s if self._context is None else self._door.settings.handshake_s)

    def data_received(self, data: bytes) -> None:
        if self._http is None and self._context is not None:
            if self._handshake is None:
                self._transport.pause_reading()
                self._handshake = asyncio.get_running_loop().create_task(self._secure(self._context, data))
            else:
                self._early.append(data)
            return
        if self._http is None:
            self._http = self._begin_http()
        self._http.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._http is None else self._http.eof_received()

    def pause_writing(self) -> None:
        self._watch_fetching(self._unsent())
        if self._http is not None:
            self._http.pause_writing()

    def resume_writing(self) -> None:
        self._fetched()
        if self._http is not None:
            self._http.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_there:
            self._is_there = False
            self._door.crowd.left()
        self._wait(None)
        self._fetched()
        if self._stranger is not None:
            self._door.strangers.leave(self._stranger)
        self._forget_caller()
        if self._http is not None:
            self._http.connection_lost(exc)

    async def _secure(self, context: ssl.SSLContext, first: bytes) -> None:
        """Do the TLS handshake. Its time is ours: asyncio's own has no way to end it from outside."""
        if self._transport.is_closing():  # it went for others: TLS would begin, and not hear that nobody is there
            return
        secured = None
        try:
            secured = await begin_tls(self._transport, self, context, first)
        except OSError as error:  # an error of TLS is one too; to be refused by us is no news
            # Its frames hold asyncio's protocol, which holds it: 80 kB until the collector comes by.
            error.__traceback__ = None
        if secured is None or secured.is_closing():
            self._transport.abort()
            self.connection_lost(None)
            return
        self._transport = secured
        self._wait(self._door.settings.request_s)
        self._http = self._begin_http()
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def _begin_http(self) -> asyncio.Protocol:
        http = self._make_http(self)
        http.connection_made(self._transport)
        return http

    def _wait(self, seconds: float | None) -> None:
        """End the connection after this time, unless told otherwise before; None: let it be.

        A caller who still fetches an answer does not have to begin the next request.
        """
        if self._deadline is not None:
            self._deadline.cancel()
        loop = asyncio.get_running_loop()
        self._deadline = None if seconds is None else loop.call_later(seconds, self._end_unless_fetching)

    def _end_unless_fetching(self) -> None:
        left = 0 if self._caller is None else self._unsent()
        if left:
            self._watch_fetching(left)
        else:
            self._end()

    def _watch_fetching(self, left: int) -> None:
        """End the connection unless the client fetches some of the bytes that are left, as one on a slow line does."""
        self._fetched()
        self._unfetched = asyncio.get_running_loop().call_later(self._door.settings.fetch_s, self._look, left)

    def _look(self, before: int) -> None:
        left = self._unsent()
        if left > max(0, before - LEAST_FETCHED):
            self._end()
        elif left:
            self._watch_fetching(left)
        else:
            self._unfetched = None
            self._wait(None if self._requests else self._door.settings.request_s)

    def _unsent(self) -> int:
        """Count the bytes that were written, and that the client's machine has not acknowledged; see tcp(7)."""
        in_kernel = array.array("i", (0,))
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, in_kernel)
        return self._transport.get_write_buffer_size() + in_kernel[0]

    def _fetched(self) -> None:
        """Take note that the client has caught up with what it was sent."""
        if self._unfetched is not None:
            self._unfetched.cancel()
            self._unfetched = None

    def _forget_caller(self) -> None:
        if self._caller is not None:
            self._door.callers.leave(self._caller)
            self._caller = None

    def _end(self) -> None:
        self._transport.abort()


class FoldedWarnings(logging.Filter):
    """Lets a warning of the HTTP server through once a minute: strangers cause them as often as they like."""

    def __init__(self) -> None:
        super().__init__()
        self._folding: Folding[str] = Folding("")

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.WARNING or record.exc_info:
            return True
        now = clock.monotonic()
        for message, more in self._folding.ended(now):
            log.warning("http.warned_again", message=message, count=more)
        return self._folding.note(str(record.msg), now) is not None
