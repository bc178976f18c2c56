"""Gate before all handlers: a panel that is older than one that was obeyed gets nothing, not even the status."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from wgfleet.agent.server.http import problem
from wgfleet.agent.state.panels import ObeyedPanels
from wgfleet.protocol.features import PANEL_HEADER

_OPEN = "/health"  # a load balancer's
_KEY = "wgfleet.superseded"


class PanelGate:
    """An ASGI application before another one."""

    def __init__(self, app: ASGIApp, panels: ObeyedPanels) -> None:
        self._app = app
        self._panels = panels

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] == "http" and scope["path"] != _OPEN:
            name = Request(scope).headers.get(PANEL_HEADER)
            refusal = self._panels.refusal(name)
            if refusal is not None:
                await problem(refusal)(scope, receive, send)
                return
            scope[_KEY] = lambda: self._panels.refusal(name) is not None
        await self._app(scope, receive, send)


def superseded(request: Request) -> Callable[[], bool]:
    """Return what tells whether a newer panel has called since a request came."""
    told: Callable[[], bool] = request.scope.get(_KEY, bool)
    return told
