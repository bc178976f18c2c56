"""Middleware that checks the credential before anything else: before the route is found and the body is read.

Without a valid key only `OPEN_PATHS` are served, and no chunks are read: the smallest take a hundred times the time of
their bytes to read. Refused calls are counted, and logged in folds.
"""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wgfleet.panel import clock, origin
from wgfleet.panel.api import problems
from wgfleet.panel.api.auth import CALLER, NO_KEY, OPEN_PATHS
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.door import VISIT
from wgfleet.panel.errors import PanelError, Unauthorized
from wgfleet.panel.services.access import credentials
from wgfleet.panel.services.access.callers import Caller

_LOOKUPS = ThreadPoolExecutor(8, "key-lookup")  # of their own, so that slow handlers do not keep callers out
DRAIN_S = 1.0
DRAIN_BYTES = 256 * 1024
# Of who has shown a credential: browsers send a file to its end before they read, and show nothing once they are reset.
KNOWN_DRAIN_S = 60.0
KNOWN_DRAIN_BYTES = 256 * 1024 * 1024
_SILENT_S = 2.0  # who sends nothing for so long has read the answer, or gone
_CLOSE = (b"connection", b"close")
_NO_LENGTH = "send the body with Content-Length, not in chunks"


class Doorkeeper:
    """Puts the caller into the request's state, or answers that there is none."""

    def __init__(self, app: ASGIApp, panel: Panel) -> None:
        self._app = app
        self._panel = panel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        # Not unbound at the end: each request has a task, and with it a context, of its own.
        identifier = clock.new_id()
        structlog.contextvars.bind_contextvars(**{problems.REQUEST_ID: identifier})
        origin.bind(scope)
        body = UnreadBody(scope, receive, send, identifier)
        if scope["path"] in OPEN_PATHS:
            if body.chunked:
                await problems.answer(HTTPStatus.LENGTH_REQUIRED, "no length", _NO_LENGTH)(
                    scope, body.receive, body.send
                )
                return
        else:
            try:
                state[CALLER] = await self._caller(Headers(scope=scope))
            except PanelError as error:
                if isinstance(error, Unauthorized):
                    self._panel.refusals.key_refused(origin.of(scope), error.detail)
                await problems.of(error)(scope, body.receive, body.send)
                return
            body.known()
            origin.bind_requester(state[CALLER].reference)
            if (visit := state.get(VISIT)) is not None:
                visit.known(state[CALLER].id)
        await self._app(scope, body.receive, body.send)

    async def _caller(self, headers: Headers) -> Caller:
        text = key_in(headers)
        if not text:
            raise Unauthorized(NO_KEY)
        return await asyncio.get_running_loop().run_in_executor(_LOOKUPS, self._authenticate, text)

    def _authenticate(self, text: str) -> Caller:
        with self._panel.store.read() as tx:
            return credentials.authenticate(tx, text)


def key_in(headers: Headers) -> str | None:
    """Return the API key of a request: of the bearer's header, or else of our own."""
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and text.strip():
        return text.strip()
    return headers.get("x-api-key")


class UnreadBody:
    """Names a request in its answer, and ends the connection if the answer came before the end of the body.

    A little of the rest is taken first, and more of a known caller's: a client that is still sending would otherwise
    be reset, and might lose the answer.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self._request_id = (b"x-request-id", request_id.encode())
        headers = Headers(scope=scope)
        self.chunked = "transfer-encoding" in headers
        self._drained = not self.chunked
        self._most_s, self._most = DRAIN_S, DRAIN_BYTES
        self.pending = headers.get("content-length", "0") != "0" or self.chunked
        self._receive = receive
        self._send = send

    def known(self) -> None:
        """Take note that a valid credential was shown."""
        self._drained = True
        self._most_s, self._most = KNOWN_DRAIN_S, KNOWN_DRAIN_BYTES

    async def receive(self) -> Message:
        message = await self._receive()
        if not message.get("more_body", False):
            self.pending = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), self._request_id]}
        if self.pending and message["type"] == "http.response.start" and message["status"] < HTTPStatus.BAD_REQUEST:
            await self._drain()  # a route that takes no body; what there is of it is here, and no reason to part
        if not self.pending:
            await self._send(message)
        elif message["type"] == "http.response.start":
            headers = [each for each in message.get("headers", []) if each[0].lower() != b"connection"]
            await self._send({**message, "headers": [*headers, _CLOSE]})
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain()
            await self._send({"type": "http.response.body"})
        else:
            await self._send(message)

    async def _drain(self) -> None:
        if not self._drained:
            return
        taken = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._most_s):
                while self.pending and taken < self._most:
                    async with asyncio.timeout(_SILENT_S):
                        message: dict[str, Any] = dict(await self.receive())
                    taken += len(message.get("body", b""))
