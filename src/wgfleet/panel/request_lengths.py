"""Requests that say in two ways where their body ends are refused, and their connection is closed.

A proxy that goes by the one and a panel that goes by the other disagree on where the next request begins: somebody
could send one in the name of those who come next on the connection (RFC 9112, sections 6.1 and 6.3).
"""

from http import HTTPStatus

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_REFUSED = PlainTextResponse(
    "the request says its length in two ways; send Content-Length, or Transfer-Encoding with HTTP/1.1, and not both\n",
    HTTPStatus.BAD_REQUEST,
    {"Connection": "close"},
)


class OneLength:
    """Passes on requests whose length is said in one way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            said = {name for name, _ in scope["headers"]} & {b"content-length", b"transfer-encoding"}
            if len(said) > 1 or (b"transfer-encoding" in said and scope["http_version"] == "1.0"):
                await _REFUSED(scope, receive, send)
                return
        await self._app(scope, receive, send)
