"""The door at port 80: what a CA asks there is answered (RFC 8555, section 8.3), all else is sent on to https.

There is nothing else behind it, since what comes here comes in the clear.
"""

import re
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

QUESTION = "/.well-known/acme-challenge/{token}"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")  # base64url, RFC 8555 section 8.1
IN_THE_CLEAR = (
    "This came in the clear, and so did its credential: anybody on the way may have read it. "
    "Replace the credential, and call by https.\n"
)


def plain_door(answer: Callable[[str], str | None], home: str) -> ASGIApp:
    """Return the application of that door. `answer`: to a token, None: to none such; `home`: where the panel is."""

    def question(request: Request) -> Response:
        token = request.path_params["token"]
        found = answer(token) if _TOKEN.fullmatch(token) else None
        if found is None:
            return PlainTextResponse("no such question\n", 404)
        return PlainTextResponse(found)

    async def elsewhere(request: Request) -> Response:
        if "authorization" in request.headers or request.method not in {"GET", "HEAD"}:
            return PlainTextResponse(IN_THE_CLEAR, 403)
        return RedirectResponse(home, 308)

    return Starlette(
        routes=[
            Route(QUESTION, question),
            Route("/{path:path}", elsewhere, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]
    )
