"""Secrets of links that work once: behind `#` of an address, which browsers send to no server, so into no proxy's log.

Scripts take the secret from there into a field of the form (`data-from-fragment`); without them people paste the whole
link. Links of earlier versions had it in the query or the path: they lead to the page that they would be today.
"""

import re
from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from wgfleet.panel.web.visitors import Visitor

_SECRET = re.compile(r"[A-Za-z0-9_-]{1,100}")
_UNSEEN = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


def link_to(path: str, secret: str) -> str:
    """Return the address, from the path on, of the page that takes a secret."""
    return f"{path}#{secret}"


def led_on(visitor: Visitor, path: str, secret: str) -> Response:
    """Lead a browser from where a link of an earlier version had its secret to where it is seen by nobody."""
    known = _SECRET.fullmatch(secret) is not None
    address = visitor.url(link_to(path, secret) if known else path)
    return unseen(RedirectResponse(address, HTTPStatus.SEE_OTHER))


def unseen(response: Response) -> Response:
    """Have a browser keep nothing of an answer, and name its address nowhere."""
    response.headers.update(_UNSEEN)
    return response
