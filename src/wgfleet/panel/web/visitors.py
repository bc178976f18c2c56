"""Visitors: who looks at a page, in which language and style; and the cookies that this is known from.

The cookie of a sign-in carries its token, as programs send it in a header. Its name begins with `__Host-` where pages
come by https, so that no other host of the domain can set it.
"""

import hmac
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

from wgfleet.panel.services.access import sign_ins
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.web import languages

VISITOR = "visitor"
"""Under which name the state of a request has its `Visitor`."""
SIGN_IN, VISIT, BEGUN = "wgfleet", "wgfleet-visit", "wgfleet-begun"
LANGUAGE, THEME, DENSITY = "wgfleet-language", "wgfleet-theme", "wgfleet-density"
THEMES, DENSITIES = ("auto", "light", "dark"), ("normal", "compact")
YEAR_S = 365 * 86400
_FORM = b"form of a page"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks. `secret` is what the tokens of the visitor's forms are made from: of the sign-in, or of the visit."""

    base: str
    path: str
    language: str
    theme: str
    density: str
    secure: bool
    secret: str
    caller: Caller | None = None

    @property
    def form_token(self) -> str:
        """What every form of this visitor carries."""
        return hmac.digest(self.secret.encode(), _FORM, "sha256").hex()

    def owns(self, token: str) -> bool:
        """Say whether a form is one of this visitor's."""
        return hmac.compare_digest(token.encode(), self.form_token.encode())

    def url(self, path: str) -> str:
        """Return the address of one of our paths, below that of the proxy."""
        return self.base + path

    def may(self, scope: str) -> bool:
        """Say whether what needs a scope is to be shown."""
        return self.caller is not None and self.caller.may(scope)

    def may_everywhere(self, scope: str) -> bool:
        """Say whether what needs a scope, and is about all configs and nodes, is to be shown."""
        return self.may(scope) and self.caller is not None and self.caller.limit is None

    def sees_config(self, config_id: str | None) -> bool:
        """Say whether the pages of a config are to be linked."""
        return self.caller is not None and (self.caller.limit is None or config_id in self.caller.limit.configs)

    def sees_group(self, group_id: str | None) -> bool:
        """Say whether the pages of the nodes of a group are to be linked."""
        return self.caller is not None and (self.caller.limit is None or group_id in self.caller.limit.groups)


def is_secure(scope: Scope) -> bool:
    """Say whether the page comes by https; proxies that are trusted say it for their clients."""
    return str(scope.get("scheme")) == "https"


def name_of(cookie: str, *, secure: bool) -> str:
    """Return under which name a cookie is kept."""
    return f"__Host-{cookie}" if secure else cookie


def seen(scope: Scope, base: str, new_visit: str) -> Visitor:
    """Return who looks by what the request says, not yet as whom they are signed in."""
    headers = Headers(scope=scope)
    cookies, secure = HTTPConnection(scope).cookies, is_secure(scope)
    query = scope.get("query_string", b"").decode("latin-1")
    theme, density = cookies.get(THEME, ""), cookies.get(DENSITY, "")
    return Visitor(
        base=base,
        path=quote(scope["path"], safe="/:@") + (f"?{query}" if query else ""),
        language=languages.chosen(cookies.get(LANGUAGE), headers.get("accept-language", "")),
        theme=theme if theme in THEMES else THEMES[0],
        density=density if density in DENSITIES else DENSITIES[0],
        secure=secure,
        secret=cookies.get(name_of(VISIT, secure=secure)) or new_visit,
    )


def sign_in_of(scope: Scope) -> str | None:
    """Return the token of the sign-in that a request carries, whether it counts or not."""
    token = HTTPConnection(scope).cookies.get(name_of(SIGN_IN, secure=is_secure(scope)))
    return token if token and token.startswith(sign_ins.PREFIX) else None


def keep(response: Response, cookie: str, value: str, *, secure: bool, lasts_s: int | None = None) -> None:
    """Have the browser keep a cookie, which scripts cannot read: until it is closed, or for some time."""
    response.set_cookie(
        name_of(cookie, secure=secure) if cookie in {SIGN_IN, VISIT, BEGUN} else cookie,
        value,
        max_age=lasts_s,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def forget(response: Response, cookie: str, *, secure: bool) -> None:
    """Have the browser forget a cookie."""
    response.delete_cookie(name_of(cookie, secure=secure), path="/", secure=secure, httponly=True, samesite="lax")


def own_path(wanted: str | None, default: str = "/") -> str:
    """Return a path of ours to go on to; anything that leads elsewhere becomes the default."""
    if not wanted or not wanted.startswith("/") or not wanted.isprintable() or "\\" in wanted:
        return default
    if wanted.startswith("//"):
        return default
    parts = urlsplit(wanted)
    return default if parts.scheme or parts.netloc else wanted


async def _visitor(request: Request) -> Visitor:
    found: Visitor = getattr(request.state, VISITOR)
    return found


TheVisitor = Annotated[Visitor, Depends(_visitor)]
