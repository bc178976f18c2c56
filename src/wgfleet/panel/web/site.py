"""The site: all pages as one application, and the middleware that puts it beside the API of a panel."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wgfleet.panel.api.panel import Panel
from wgfleet.panel.api.request_bodies import BodyLimit
from wgfleet.panel.api.turns import Turns
from wgfleet.panel.errors import NotFound, PanelError
from wgfleet.panel.web import assets, live, pages, rendering, ways_back
from wgfleet.panel.web.doors import Doors
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.rendering import gone_on
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

ROUTERS = (assets.router, live.router, *(module.router for module in pages.MODULES))
# Whose paths are programs'.
_OF_THE_API = ("/api/", "/healthz", "/readyz", "/metrics", "/openapi.json")
_NO_PAGE = marked("there is no page here")
_BAD_ADDRESS = marked("the address has a value that cannot be")
_BUG = marked("the panel failed on this page; its log says why")


def install(app: FastAPI, panel: Panel) -> None:
    """Have the application of the API serve the pages too."""
    rendering.sections[:] = sorted(
        (section for module in pages.MODULES for section in getattr(module, "SECTIONS", ())),
        key=lambda section: section.order,
    )
    site = Middleware(Beside, pages=create_site(panel), base=panel.settings.base_path)
    app.user_middleware.insert(1, site)  # within that which counts requests


def create_site(panel: Panel) -> FastAPI:
    """Return the application of the pages alone."""
    # A slash too many is for `_http_error`: Starlette makes the address of the caller's own header, without the base.
    site = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    site.state.panel = panel
    site.add_middleware(BodyLimit, refused=lambda scope, error: _http_error(Request(scope), error))
    site.add_middleware(Turns, settings=panel.settings.door, siblings=panel.siblings, counted="pages")
    site.add_middleware(Doors, panel=panel)
    site.routes.extend(routes())
    site.add_exception_handler(PanelError, _panel_error)
    site.add_exception_handler(FieldError, _field_error)
    site.add_exception_handler(RequestValidationError, _wrong_address)
    site.add_exception_handler(HTTPException, _http_error)
    site.add_exception_handler(Exception, _bug)
    return site


class Beside:
    """Hands each request to the API or to the pages, by its path, without that of the proxy where it has that."""

    def __init__(self, app: ASGIApp, pages: ASGIApp, base: str) -> None:
        self._api = app
        self._pages = pages
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = str(scope["path"])
            if self._base and (path == self._base or path.startswith(f"{self._base}/")):
                path = scope["path"] = path.removeprefix(self._base) or "/"
                scope["raw_path"] = path.encode()
            if not path.startswith(_OF_THE_API) and path != "/api":
                await self._page(scope, receive, send)
                return
        await self._api(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "HEAD":
            await self._pages(scope, receive, send)
            return

        async def head(message: Message) -> None:
            """Send what comes before the body, and end there: what is a stream otherwise, too."""
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        asked = {**scope, "method": "GET"}  # a copy: the server looks at its own
        await self._pages(asked, receive, head)
        scope["route"] = asked.get("route")  # under which it is counted


def routes() -> list[BaseRoute]:
    """Return the routes of all pages."""
    return [route for router in ROUTERS for route in router.routes]


def _refused(request: Request, error: PanelError, headers: dict[str, str] | None = None) -> Response:
    shown = rendering.page(request, "error.html", {"error": error}, status=error.status)
    shown.headers.update(headers or {})
    if request.headers.get("hx-request") == "true":
        # Whatever was to be filled: an error is a page, never a part of one.
        shown.headers.update({"HX-Retarget": "body", "HX-Reswap": "innerHTML"})
    return shown


def _panel_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PanelError)  # noqa: S101 - the handler is registered for this class only
    return _refused(request, error)


def _field_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FieldError)  # noqa: S101 - as above
    return _refused(request, _as_error(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)))


def _wrong_address(request: Request, _error: Exception) -> Response:
    return _refused(request, _as_error(HTTPStatus.UNPROCESSABLE_ENTITY, _BAD_ADDRESS))


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    detail: Any = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        meant = _without_slash(request)
        return _refused(request, NotFound(_NO_PAGE)) if meant is None else gone_on(request, meant)
    detail = detail if isinstance(detail, Reason) else str(detail)
    return _refused(request, _as_error(error.status_code, detail), dict(error.headers or {}))


def _without_slash(request: Request) -> str | None:
    """Return the path of the page that was meant by one with a slash too many at its end; None: there is none."""
    path, mark, query = rendering.visitor_of(request).path.partition("?")
    meant = path.rstrip("/")
    if request.method != "GET" or meant == path or not meant or ways_back.shown_path(request, meant) != meant:
        return None
    return f"{meant}{mark}{query}"


def _bug(request: Request, _error: Exception) -> Response:
    return _refused(request, _as_error(HTTPStatus.INTERNAL_SERVER_ERROR, _BUG))


def _as_error(status: int, detail: str) -> PanelError:
    made = PanelError(detail)
    made.status = status
    return made
