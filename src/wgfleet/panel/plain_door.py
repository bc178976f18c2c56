"""The door at port 80: what a CA asks there is answered (RFC 8555, section 8.3), and browsers are sent on to https.

There is nothing else behind it, since what comes here comes in the clear. Programs are not sent on: who follows would
never notice that the first call, with whatever was in it, could be read on the way.
"""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

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
CREDENTIALS = frozenset({"authorization", "x-api-key"})  # a browser sends its sign-in by https only
OF_PROGRAMS = re.compile(r"/+(api/.*|healthz|readyz|metrics|openapi\.json|\.well-known/.*)", re.DOTALL)


def plain_door(answer: Callable[[str], str | None], home: str) -> ASGIApp:
    """Return the application of that door. `answer`: to a token, None: to none such; `home`: where the panel is."""
    base = urlsplit(home).path.strip("/").encode()

    def question(request: Request) -> Response:
        token = request.path_params["token"]
        found = answer(token) if _TOKEN.fullmatch(token) else None
        if found is None:
            return PlainTextResponse("no such question\n", 404)
        return PlainTextResponse(found)

    async def elsewhere(request: Request) -> Response:
        if not CREDENTIALS.isdisjoint(request.headers):
            return PlainTextResponse(IN_THE_CLEAR, 403)
        if request.method not in {"GET", "HEAD"} or OF_PROGRAMS.fullmatch(
            request.url.path.removeprefix(f"/{base.decode()}") if base else request.url.path
        ):
            return PlainTextResponse(f"Nothing is answered in the clear. Call {home} by https.\n", 403)
        page = request.scope["raw_path"].lstrip(b"/")
        if base and ".." in re.split(r"[/\\]", request.scope["path"]):
            return PlainTextResponse("no such page\n", 404)  # a browser would leave the path of `home`
        if base and (page == base or page.startswith(base + b"/")):
            page = page[len(base) :].lstrip(b"/")
        query = request.scope["query_string"]
        return RedirectResponse(f"{home}{(page + b'?' + query if query else page).decode('latin-1')}", 308)

    return Starlette(
        routes=[
            Route(QUESTION, question),
            Route("/{path:path}", elsewhere, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]
    )
