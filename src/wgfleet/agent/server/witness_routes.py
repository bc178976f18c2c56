"""Routes of a witness: what every agent says of itself, and a clear no to interfaces."""

import time
from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import wgfleet
from wgfleet.agent.interfaces.watch_board import WatchBoard
from wgfleet.agent.server import http, metrics
from wgfleet.agent.server.http import answer, problem
from wgfleet.agent.server.routes import health, stream
from wgfleet.protocol import features
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import WITNESS, AgentStatus, Refusal


class WitnessRoutes:
    """Handlers of the panel's requests. `certificate_expires_at` is in s since the epoch; `notes` as in the status."""

    def __init__(
        self,
        board: WatchBoard,
        node_id: NodeId,
        certificate_expires_at: Callable[[], float],
        notes: Callable[[], tuple[str, ...]],
    ) -> None:
        self._board = board
        self._node_id = node_id
        self._certificate_expires_at = certificate_expires_at
        self._notes = notes
        self._started_at = time.time()

    def app(self, more: Sequence[BaseRoute]) -> Starlette:
        """Build the application, with `more` routes beside its own."""
        routes = [
            Route("/health", health),
            Route("/v1/status", self.get_status),
            Route("/v1/metrics", self.get_metrics),
            Route("/v1/watch", self.watch),
            Route("/v1/wg/{path:path}", self.no_interface, methods=["GET", "PUT", "POST", "DELETE"]),
            *more,
        ]
        handlers: dict[type[Exception], Callable[..., Response]] = {
            FieldError: http.field_error,
            OSError: http.os_error,
            HTTPException: http.http_error,
        }
        return Starlette(routes=routes, exception_handlers=handlers)

    def status(self) -> AgentStatus:
        """Build the status, which is also the head of the watch stream."""
        return AgentStatus(
            node_id=self._node_id,
            version=wgfleet.__version__,
            backend=WITNESS,
            started_at=self._started_at,
            now=time.time(),
            certificate_expires_at=self._certificate_expires_at(),
            scan_interval_s=0.0,
            interfaces=(),
            protocol=features.PROTOCOL,
            features=tuple(sorted(features.ALL)),
            notes=self._notes(),
        )

    async def get_status(self, request: Request) -> Response:
        """`GET /v1/status`."""
        del request
        return answer(self.status())

    async def get_metrics(self, request: Request) -> Response:
        """`GET /v1/metrics`."""
        del request
        text = metrics.render(self.status(), (), None, readers=self._board.readers)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    async def watch(self, request: Request) -> Response:
        """`GET /v1/watch`: no interfaces, and heartbeats."""
        return stream(request, self._board, self.status)

    async def no_interface(self, request: Request) -> Response:
        """Any request for an interface: to delete one that is not there is no error, and nothing else can be done."""
        if request.method == "DELETE":
            return Response(status_code=204)
        detail = "this agent runs as a witness: it has no WireGuard and no interface; assign the config to another node"
        return problem(Refusal(title="a witness has no interface", status=409, detail=detail, reason="witness"))
