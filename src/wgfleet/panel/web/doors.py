"""Middleware in front of the pages: who visits, what strangers may see, and the headers of every answer.

The sign-in comes by cookie here and by header at the API; both are checked by the same service. A stranger gets
`OPEN_PAGES` only, and is sent to the page that signs in from anywhere else.
"""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus

import structlog
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wgfleet.panel import clock, origin
from wgfleet.panel.api.auth import CALLER
from wgfleet.panel.api.doorkeeper import UnreadBody
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.api.problems import REQUEST_ID
from wgfleet.panel.door import VISIT as CONNECTION
from wgfleet.panel.errors import PanelError, Unauthorized
from wgfleet.panel.services.access import credentials
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.web import strict_transport, visitors
from wgfleet.panel.web.strict_transport import StrictTransport
from wgfleet.panel.web.visitors import SIGN_IN, VISIT, VISITOR, Visitor
from wgfleet.panel.web.ways_back import to_sign_in

# Paths that need no sign-in, each with its reason. A test holds every other page to a scope.
OPEN_PAGES = {
    "/login": "who signs in has a name and a password instead",
    "/login/code": "as above, and a code",
    "/login/with/{provider}": "who signs in with a provider is sent there",
    "/sign-in/oidc": "browsers come back from there, not yet signed in",
    "/login/forwarded": "a trusted proxy vouches instead",
    "/login/passkey": "a person has a passkey instead",
    "/login/passkey/begin": "as above",
    "/set-password": "a new user has a link instead",
    "/set-up/administrator": "the first administrator has the address that the terminal shows",
    "/set-up/{secret}": "as above, as earlier versions showed it",
    "/shared": "who has a link to a file has its secret instead",
    "/shared/file": "as above",
    "/preferences": "language and colors are the browser's own",
    "/static/{name}": "scripts and styles are the same for all, and the page that signs in needs them",
    "/favicon.ico": "browsers ask for it of their own accord",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_OPEN = re.compile("|".join(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) for path in OPEN_PAGES))
_LOOKUPS = ThreadPoolExecutor(8, "sign-in-lookup")  # of their own, so that slow pages do not keep people out
_KEPT = "no-store"  # of what pages show nothing stays behind


class Doors:
    """Puts the visitor, and the caller where somebody is signed in, into the request's state."""

    def __init__(self, app: ASGIApp, panel: Panel) -> None:
        self._app = app
        self._panel = panel
        self._base = panel.settings.base_path
        self._strict = StrictTransport(panel.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identifier = clock.new_id()
        structlog.contextvars.bind_contextvars(**{REQUEST_ID: identifier})
        origin.bind(scope)
        body = UnreadBody(scope, receive, send, identifier)
        new_visit = clock.new_token()
        visitor = visitors.seen(scope, self._base, new_visit)
        newcomer = visitor if visitor.secret == new_visit else None
        guarded = _Guarded(body.send, newcomer, self._strict.value(scope))
        state = scope.setdefault("state", {})
        state[VISITOR] = visitor
        answer = await self._let_in(scope, state, visitor)
        if answer is None and body.chunked and state.get(CALLER) is None:
            answer = PlainTextResponse("send the body with Content-Length", HTTPStatus.LENGTH_REQUIRED)
        if answer is not None:
            await answer(scope, body.receive, guarded.send)
            return
        if state.get(CALLER) is not None:
            body.known()
        await self._app(scope, body.receive, guarded.send)

    async def _let_in(self, scope: Scope, state: dict[str, object], visitor: Visitor) -> Response | None:
        """Note who is signed in; return an answer where that is nobody, and the page is not open."""
        token = shown = visitors.sign_in_of(scope)
        if token is not None:
            try:
                caller = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, self._authenticate, token)
            except Unauthorized:
                token = None
            except PanelError as error:
                return PlainTextResponse(error.detail, error.status, error.retry_headers)
            else:
                state[CALLER] = caller
                origin.bind_requester(caller.reference)
                state[VISITOR] = replace(visitor, caller=caller, secret=token)
                connection = state.get(CONNECTION)
                if connection is not None:
                    connection.known(caller.id)  # type: ignore[attr-defined]  # the state is a bag of anything
                return None
        if _OPEN.fullmatch(scope["path"]):
            return None
        return to_sign_in(scope, visitor, self._panel.settings.public_url, expired=shown is not None)

    def _authenticate(self, token: str) -> Caller:
        with self._panel.store.read() as tx:
            return credentials.authenticate(tx, token)


class _Guarded:
    """Answers with the headers that all pages have.

    `newcomer`: a visitor whose visit has no cookie yet. `strict`: the value of `strict_transport.HEADER`, if any.
    """

    def __init__(self, send: Send, newcomer: Visitor | None, strict: str | None) -> None:
        self._send = send
        self._newcomer = newcomer
        self._strict = strict

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", _KEPT)
            if self._strict is not None:
                headers.setdefault(strict_transport.HEADER, self._strict)
            if self._newcomer is not None and headers.get("content-type", "").startswith("text/html"):
                self._keep_visit(headers, self._newcomer)
        await self._send(message)

    @staticmethod
    def _keep_visit(headers: MutableHeaders, newcomer: Visitor) -> None:
        kept = Response()
        visitors.keep(kept, VISIT, newcomer.secret, secure=newcomer.secure)
        for value in kept.headers.getlist("set-cookie"):
            headers.append("set-cookie", value)


def signed_in(response: Response, visitor: Visitor, token: str) -> Response:
    """Have the browser keep a new sign-in, and forget the visit before it."""
    visitors.keep(response, SIGN_IN, token, secure=visitor.secure)
    visitors.forget(response, VISIT, secure=visitor.secure)
    return response


def signed_out(response: Response, visitor: Visitor) -> Response:
    """Have the browser forget the sign-in."""
    visitors.forget(response, SIGN_IN, secure=visitor.secure)
    return response
