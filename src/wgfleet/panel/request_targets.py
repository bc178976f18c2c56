"""Targets of requests as whole addresses (`GET http://host/path`), made the paths that everybody behind expects.

Every server has to take them (RFC 9112, section 3.2.2); proxies send them, and some checks. The host in the address
stands in for the header.
"""

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_WHOLE = re.compile(rb"https?://([A-Za-z0-9.:\[\]_~%-]+)(/.*)?", re.DOTALL | re.IGNORECASE)


class OriginForm:
    """Passes requests on with a path as their target."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["raw_path"].startswith(b"/"):
            whole = _WHOLE.fullmatch(scope["raw_path"])
            if whole is not None:
                path = whole[2] or b"/"
                headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
                scope = {
                    **scope,
                    "path": unquote(path.decode("ascii")),
                    "raw_path": path,
                    "headers": [(b"host", whole[1].lower()), *headers],
                }
        await self._app(scope, receive, send)
