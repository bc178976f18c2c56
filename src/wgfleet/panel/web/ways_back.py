"""Ways back: to the page that somebody was on whom the panel does not know any more, through the one that signs in.

Browsers say which page it was. Only the path counts, of an address of this site: nobody is led anywhere else.
"""

from http import HTTPStatus
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from wgfleet.panel.web import visitors
from wgfleet.panel.web.visitors import Visitor

MOST = 2000  # letters of what to go back to
Ended = Literal["", "yes", "unsent"]
"""Whether somebody was signed in until then; `unsent`: and has sent a form since, which was not carried out."""
_SIGN_IN, _SIGN_OUT = "/login", "/logout"


def to_sign_in(scope: Scope, visitor: Visitor, public_url: str | None, *, expired: bool) -> Response:
    """Send somebody to the page that signs in, and from there back. `expired`: the browser has a sign-in of before."""
    headers, shows = Headers(scope=scope), scope["method"] == "GET"
    if headers.get("accept", "").startswith("text/event-stream"):
        return Response(status_code=HTTPStatus.UNAUTHORIZED)  # a stream ends for good at anything but 200
    if headers.get("hx-request") == "true":  # by a script of a page that was shown to somebody
        back = _page(headers, "hx-current-url", visitor, public_url)
        address = _address(visitor, back, "yes" if shows else "unsent")
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": address})
    back = visitor.path if shows else _page(headers, "referer", visitor, public_url)
    # Who has signed out in another tab has no sign-in any more, and has filled in a form all the same.
    unsent = not shows and (expired or scope["path"] != _SIGN_OUT)
    ended: Ended = "unsent" if unsent else "yes" if expired else ""
    return RedirectResponse(_address(visitor, back, ended), HTTPStatus.SEE_OTHER)


def shown_path(request: Request, wanted: str | None) -> str:
    """Return a path of ours to go back to: one that shows something, not one that only takes forms; or "/"."""
    path = visitors.own_path(wanted)
    asked = {"type": "http", "method": "GET", "path": unquote(urlsplit(path).path), "root_path": ""}
    known: list[BaseRoute] = request.app.routes
    return path if any(route.matches(asked)[0] is Match.FULL for route in known) else "/"


def _address(visitor: Visitor, back: str, ended: Ended) -> str:
    path = visitors.own_path(back).partition("#")[0]
    known = path != "/" and len(path) <= MOST and path.partition("?")[0] != _SIGN_IN
    query = [f"next={quote(path, safe='')}"] if known else []
    query += [f"ended={ended}"] if ended else []
    return visitor.url(_SIGN_IN) + (f"?{'&'.join(query)}" if query else "")


def _page(headers: Headers, name: str, visitor: Visitor, public_url: str | None) -> str:
    """Return the path below ours of the page that a header names, and "/" where it is none of this site."""
    try:
        parts = urlsplit(headers.get(name, ""))
        ours = {headers.get("host"), urlsplit(public_url or "").netloc or None}
    except ValueError:
        return "/"
    if not parts.netloc or parts.netloc not in ours or not f"{parts.path}/".startswith(f"{visitor.base}/"):
        return "/"
    return parts.path.removeprefix(visitor.base) + (f"?{parts.query}" if parts.query else "")
