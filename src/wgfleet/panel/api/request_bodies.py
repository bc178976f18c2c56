"""Middleware for request bodies: their size, parts and time; and JSON as the default content type.

JSON is parsed at once and holds up everything else meanwhile, so it is bounded while it arrives: by bytes, and
by parts, since `[{},{},...]` takes 26 times its size in memory. Many of anything are accepted by few routes only.
"""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wgfleet.panel import clock
from wgfleet.panel.api.auth import CALLER
from wgfleet.panel.api.problems import answer
from wgfleet.panel.services.access.callers import READ, SECRETS, Caller
from wgfleet.protocol.reasons import Reason

Refused = Callable[[Scope, HTTPException], ASGIApp]
"""Makes the answer to a body that is refused before anybody reads it."""

_FORM = b"application/x-www-form-urlencoded"
# A page of a stranger cannot send these, so reading its form as JSON opens nothing.
_CREDENTIALS = {b"authorization", b"x-api-key"}
_PATIENCE_S = 10.0  # for a body of any size
_SLOWEST = 16 * 1024  # bytes/s over all, beyond that
_CLOSE = {"Connection": "close"}
_CODED = Reason("the body is compressed (Content-Encoding); send it as it is")


class BodyLimits(NamedTuple):
    """The most that a body may have: bytes, and parts, which are its commas and opening brackets."""

    size: int
    parts: int


STRANGER = BodyLimits(64 * 1024, 1_000)
CALL = BodyLimits(1024 * 1024, 20_000)
MANY = BodyLimits(16 * 1024 * 1024, 500_000)  # 10,000 peers with every field are 5 MB and 300,000 parts
_MANY_PATHS = re.compile(
    r"/api/configs/[^/]+/peers/(batch|csv(/preview)?)|/api/imports(/preview)?|/peers/many/table|/new/import"
)


def _refused(_scope: Scope, error: HTTPException) -> ASGIApp:
    phrase = HTTPStatus(error.status_code).phrase.lower()
    return answer(error.status_code, phrase, error.detail, headers=dict(error.headers or {}))


class BodyLimit:
    """Refuses a body that is too large: immediately if its length is announced, else once it exceeds the limit."""

    def __init__(self, app: ASGIApp, refused: Refused = _refused) -> None:
        self._app = app
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits = limits_of(scope["path"], scope.get("state", {}).get(CALLER))
        headers = dict(scope["headers"])
        coding = headers.get(b"content-encoding", b"identity").strip().lower()
        if coding not in {b"", b"identity"}:
            refusal = self._refused(scope, HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _CODED, _CLOSE))
            await refusal(scope, receive, send)
            return
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > limits.size:
            error = HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(limits), _CLOSE)
            await self._refused(scope, error)(scope, receive, send)
            return
        await self._app(scope, _MeasuredBody(receive, limits).receive, send)


def limits_of(path: str, caller: Caller | None) -> BodyLimits:
    """Return the limits of a caller at a path. Who can change nothing has nothing large to send."""
    if caller is None or caller.scopes <= {READ, SECRETS}:
        return STRANGER
    return MANY if _MANY_PATHS.fullmatch(path) else CALL


def _too_large(limits: BodyLimits) -> Reason:
    size = f"{limits.size // 1024 // 1024} MB" if limits.size >= 1024 * 1024 else f"{limits.size // 1024} kB"
    return Reason("what was sent is larger than {size}; send it in parts", size=size)


class _MeasuredBody:
    """Hands a body on as it arrives, and raises once it is too much or too slow."""

    def __init__(self, receive: Receive, limits: BodyLimits) -> None:
        self._receive = receive
        self._limits = limits
        self._size = 0
        self._parts = 0
        self._waited_s = 0.0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:  # who asks now waits for the end of the connection
            return await self._receive()
        started = clock.monotonic()
        patience_s = _PATIENCE_S + self._size / _SLOWEST - self._waited_s
        try:
            async with asyncio.timeout(max(0.0, patience_s)):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "The body arrives too slowly", _CLOSE) from None
        self._waited_s += clock.monotonic() - started
        self._complete = not message.get("more_body", False)
        body = message.get("body", b"")
        self._size += len(body)
        self._parts += body.count(b",") + body.count(b"[") + body.count(b"{")
        if self._size > self._limits.size:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(self._limits), _CLOSE)
        if self._parts > self._limits.parts:
            detail = f"the body has more than {self._limits.parts:,} values; send it in parts"
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, _CLOSE)
        return message


class JsonByDefault:
    """Lets `curl -d '{...}'` work: a call with an API key has JSON in its body; no route takes forms."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _CREDENTIALS & {name for name, _ in scope["headers"]}:
            # In place: a copy would hide from those outside what the router writes into the scope.
            scope["headers"] = [
                (name, b"application/json" if name == b"content-type" and value.startswith(_FORM) else value)
                for name, value in scope["headers"]
            ]
        await self._app(scope, receive, send)
