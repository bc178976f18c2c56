"""Routes of the agent's HTTP API that the panel uses: parse, ask the supervisor, answer. No decisions of their own."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

import wgfleet
from wgfleet.agent.interfaces import takeover
from wgfleet.agent.interfaces.admission import RefusedError
from wgfleet.agent.interfaces.settled_calls import Settled
from wgfleet.agent.interfaces.supervisor import InterfaceSupervisor
from wgfleet.agent.interfaces.watch_board import MAX_DRIFT, MAX_READERS, WatchBoard
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.server import http, metrics
from wgfleet.agent.server.http import answer, decode, heard_at, interface_name, read_body
from wgfleet.agent.server.panel_gate import superseded
from wgfleet.agent.server.parts import PartedAnswers
from wgfleet.protocol import features
from wgfleet.protocol.desired import parse_push
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import ConfigId, Generation, NodeId
from wgfleet.protocol.messages import AgentStatus, InterfaceStatus, Takeover, TakeoverResult, WatchMessage
from wgfleet.protocol.quotes import quoted

_BIG = 64 * 1024  # bytes of body, above which parsing leaves the event loop free
_log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


class AgentRoutes:
    """Handlers of the panel's requests. `certificate_expires_at` is in s since the epoch; `notes` as in the status."""

    def __init__(
        self,
        supervisor: InterfaceSupervisor,
        node_id: NodeId,
        certificate_expires_at: Callable[[], float],
        notes: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._supervisor = supervisor
        self._parted = PartedAnswers()
        self._node_id = node_id
        self._certificate_expires_at = certificate_expires_at
        self._notes = notes
        self._started_at = time.time()

    def app(self, more: Sequence[BaseRoute]) -> Starlette:
        """Build the application, with `more` routes beside its own."""
        routes = [
            Route("/v1/metrics", self.get_metrics),
            Route("/health", health),
            Route("/v1/status", self.get_status),
            Route("/v1/watch", self.watch),
            Route("/v1/wg/{name}", self.push, methods=["PUT"]),
            Route("/v1/wg/{name}", self.delete, methods=["DELETE"]),
            Route("/v1/wg/{name}/takeover", self.takeover, methods=["POST"]),
            Route("/v1/wg/{name}/unmute", self.unmute, methods=["POST"]),
            *more,
        ]
        handlers: dict[type[Exception], Callable[..., Response]] = {
            FieldError: http.field_error,
            RefusedError: http.refused_error,
            KernelError: http.kernel_error,
            OSError: http.os_error,
            HTTPException: http.http_error,
        }
        return Starlette(routes=routes, exception_handlers=handlers)

    def status(self) -> AgentStatus:
        """Build the status, which is also the head of the watch stream."""
        return AgentStatus(
            node_id=self._node_id,
            version=wgfleet.__version__,
            backend=self._supervisor.machine.backend,
            started_at=self._started_at,
            now=time.time(),
            certificate_expires_at=self._certificate_expires_at(),
            scan_interval_s=self._supervisor.scan_interval_s,
            protocol=features.PROTOCOL,
            features=tuple(sorted(features.ALL)),
            notes=(*self._supervisor.notes, *self._notes()),
            interfaces=tuple(
                InterfaceStatus(
                    name=reconciler.name,
                    config_id=reconciler.config_id,
                    generation=reconciler.generation,
                    peers=len(reconciler.desired.peers),
                    up=reconciler.up,
                    drift=reconciler.drift[:MAX_DRIFT],
                    summary=reconciler.summary,
                    muted=reconciler.muted,
                    forwarding=reconciler.forwarding,
                )
                for reconciler in self._supervisor.reconcilers.values()
            ),
        )

    async def get_status(self, request: Request) -> Response:
        """`GET /v1/status`."""
        del request
        return answer(self.status())

    async def get_metrics(self, request: Request) -> Response:
        """`GET /v1/metrics`."""
        del request
        supervisor = self._supervisor
        text = metrics.render(
            self.status(), supervisor.reconcilers.values(), supervisor.meter.load(), readers=supervisor.board.readers
        )
        return Response(text, media_type=metrics.CONTENT_TYPE)

    async def watch(self, request: Request) -> Response:
        """`GET /v1/watch`: one `WatchMessage` per line."""
        return stream(request, self._supervisor.board, self.status)

    async def push(self, request: Request) -> Response:
        """`PUT /v1/wg/{name}`."""
        name, body = interface_name(request), await read_body(request)
        started = time.monotonic()
        push = await asyncio.to_thread(parse_push, body, name) if len(body) > _BIG else parse_push(body, name)
        applied = await asyncio.shield(self._supervisor.push(name, push, heard_at(request)))
        seconds = round(time.monotonic() - started, 4)
        _log.info("push.applied", interface=name, generation=applied.generation, bytes=len(body), seconds=seconds)
        return answer(applied)

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/wg/{name}?config_id=&generation=`."""
        name, query = interface_name(request), request.query_params
        text = query.get("generation")
        if text is not None and not (text.isascii() and text.isdigit()):
            raise FieldError("generation", f"must be a number, not {quoted(text)}")
        config_id = query.get("config_id")
        await asyncio.shield(
            self._supervisor.delete(
                name,
                None if config_id is None else ConfigId(config_id),
                None if text is None else Generation(int(text)),
            )
        )
        return Response(status_code=204)

    async def unmute(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/unmute`: nothing is missing on the interface; it may send again."""
        self._supervisor.unmute(interface_name(request), heard_at(request))
        return Response(status_code=204)

    async def takeover(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/takeover`."""
        reconciler = self._supervisor.reconciler(interface_name(request))
        wanted = decode(await read_body(request), Takeover)
        calls = takeover.check(wanted, reconciler, self._supervisor.floating.held(reconciler.name))
        said: asyncio.Queue[TakeoverResult] = asyncio.Queue()
        settled = Settled(wanted.settle_s, said.put_nowait) if wanted.settle_s else None
        unknown = [peer.public_key for peer in wanted.peers if peer.public_key not in calls]
        run = self._supervisor.takeovers.run(
            reconciler, calls, wanted.timeout_s, planned=wanted.planned, settled=settled, unknown=unknown
        )
        return await self._parted.answer(asyncio.create_task(run), said)


async def health(request: Request) -> Response:
    """Answer that the agent is alive."""
    del request
    return Response(b'{"status":"ok"}', media_type="application/json")


def stream(request: Request, board: WatchBoard, status: Callable[[], AgentStatus]) -> Response:
    """Answer with a watch stream: one `WatchMessage` per line."""
    if board.readers >= MAX_READERS:
        raise HTTPException(503, f"{MAX_READERS} watch streams are already open; close one")
    ended = superseded(request)
    theirs = features.from_header(request.headers.get(features.FEATURES_HEADER))
    messages = board.watch(status, features.held_back_s(request.headers.get(features.COUNTERS_HEADER)))
    return StreamingResponse(_lines(messages, theirs, ended), media_type="application/x-ndjson")


async def _lines(
    messages: AsyncIterator[WatchMessage], theirs: frozenset[features.Feature], ended: Callable[[], bool]
) -> AsyncIterator[bytes]:
    async for message in messages:
        if ended():
            return
        if features.for_panel(message, theirs):
            yield _encode(message) + b"\n"
