"""The agent's HTTP API: parses, calls the loop, answers. No decisions of its own."""

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec
import structlog
from msgspec import Struct
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

import wgfleet
from wgfleet.agent import takeover
from wgfleet.agent.guard import RefusedError
from wgfleet.agent.kernel.process import KernelError
from wgfleet.agent.loop import Loop
from wgfleet.agent.watch import MAX_DRIFT, MAX_READERS
from wgfleet.protocol.desired import parse_push
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName, NodeId, parse_interface_name
from wgfleet.protocol.messages import AgentStatus, InterfaceStatus, Refusal, Takeover, WatchMessage

MAX_BODY = 64 * 1024 * 1024  # 65,536 peers are 12 MB
_READ_TIMEOUT_S = 30.0  # for the next part of a body
_BIG = 64 * 1024  # bytes of body, above which parsing leaves the event loop free
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}
_log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode
T = TypeVar("T")


def answer(body: Struct, status: int = 200) -> Response:
    """Form a JSON response."""
    return Response(_encode(body), status, media_type="application/json")


def problem(refusal: Refusal) -> Response:
    """Form an RFC 9457 response."""
    return Response(_encode(refusal), refusal.status, media_type="application/problem+json")


def decode(body: bytes, kind: type[T]) -> T:
    """Decode a JSON body; raise `FieldError` naming the wrong field."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        detail, _, place = str(error).partition(" - at `")
        raise FieldError(place.rstrip("`").removeprefix("$.").removeprefix("$") or "body", detail) from None


async def read_body(request: Request) -> bytes:
    """Read the whole body, within its limit of size and time."""
    body = bytearray()
    parts = request.stream().__aiter__()
    while True:
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                body += await anext(parts)
        except StopAsyncIteration:
            return bytes(body)
        except TimeoutError:
            raise HTTPException(408, f"no data for {_READ_TIMEOUT_S:.0f} s") from None
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"the body is above {MAX_BODY} bytes; push deltas")


def interface_name(request: Request) -> InterfaceName:
    """Parse the interface in the path."""
    return parse_interface_name(request.path_params["name"], "interface")


class Api:
    """Handlers. `identity` answers for the node and its certificate."""

    def __init__(self, loop: Loop, node_id: NodeId, certificate_expires_at: Callable[[], float]) -> None:
        self._loop = loop
        self._node_id = node_id
        self._certificate_expires_at = certificate_expires_at
        self._started_at = time.time()

    def app(self) -> Starlette:
        """Form the application."""
        routes = [
            Route("/health", self.health),
            Route("/v1/status", self.get_status),
            Route("/v1/watch", self.watch),
            Route("/v1/wg/{name}", self.push, methods=["PUT"]),
            Route("/v1/wg/{name}", self.delete, methods=["DELETE"]),
            Route("/v1/wg/{name}/takeover", self.takeover, methods=["POST"]),
        ]
        handlers: dict[type[Exception], Callable[..., Response]] = {
            FieldError: _field_error,
            RefusedError: lambda _, error: problem(error.refusal),
            KernelError: _kernel_error,
            OSError: _os_error,
            HTTPException: _http_error,
        }
        return Starlette(routes=routes, exception_handlers=handlers)

    def status(self) -> AgentStatus:
        """Form the status, which is also the head of the watch stream."""
        return AgentStatus(
            node_id=self._node_id,
            version=wgfleet.__version__,
            backend=self._loop.machine.backend,
            started_at=self._started_at,
            now=time.time(),
            certificate_expires_at=self._certificate_expires_at(),
            scan_interval_s=self._loop.scan_interval_s,
            interfaces=tuple(
                InterfaceStatus(
                    name=keeper.name,
                    config_id=keeper.config_id,
                    generation=keeper.generation,
                    peers=len(keeper.desired.peers),
                    up=keeper.up,
                    drift=keeper.drift[:MAX_DRIFT],
                    summary=keeper.summary,
                )
                for keeper in self._loop.keepers.values()
            ),
        )

    async def health(self, request: Request) -> Response:
        """Answer that the agent lives."""
        del request
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def get_status(self, request: Request) -> Response:
        """`GET /v1/status`."""
        del request
        return answer(self.status())

    async def watch(self, request: Request) -> Response:
        """`GET /v1/watch`: a `WatchMessage` a line."""
        del request
        if self._loop.board.readers >= MAX_READERS:
            raise HTTPException(503, f"{MAX_READERS} streams are open already; close one")
        return StreamingResponse(_lines(self._loop.board.watch(self.status)), media_type="application/x-ndjson")

    async def push(self, request: Request) -> Response:
        """`PUT /v1/wg/{name}`."""
        name, body = interface_name(request), await read_body(request)
        started = time.monotonic()
        push = await asyncio.to_thread(parse_push, body, name) if len(body) > _BIG else parse_push(body, name)
        applied = await asyncio.shield(self._loop.push(name, push))
        seconds = round(time.monotonic() - started, 4)
        _log.info("push applied", interface=name, generation=applied.generation, bytes=len(body), seconds=seconds)
        return answer(applied)

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/wg/{name}?config_id=&generation=`."""
        name, query = interface_name(request), request.query_params
        text = query.get("generation")
        if text is not None and not (text.isascii() and text.isdigit()):
            raise FieldError("generation", f"must be a number, not {text!r}")
        config_id = query.get("config_id")
        await asyncio.shield(
            self._loop.delete(
                name,
                None if config_id is None else ConfigId(config_id),
                None if text is None else Generation(int(text)),
            )
        )
        return Response(status_code=204)

    async def takeover(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/takeover`."""
        keeper = self._loop.keeper(interface_name(request))
        wanted = decode(await read_body(request), Takeover)
        endpoints = takeover.check(wanted, keeper)
        return answer(await takeover.take_over(self._loop.machine, keeper, endpoints, wanted.timeout_s))


async def _lines(messages: AsyncIterator[WatchMessage]) -> AsyncIterator[bytes]:
    async for message in messages:
        yield _encode(message) + b"\n"


def _field_error(request: Request, error: FieldError) -> Response:
    del request
    return problem(
        Refusal(
            title="a field is wrong",
            status=400 if error.field == "body" else 422,
            detail=str(error),
            reason="bad_field",
            field=error.field,
        )
    )


def _kernel_error(request: Request, error: KernelError) -> Response:
    _log.error("request failed", path=request.url.path, reason=str(error))
    detail = f"{error}; the agent tries again by itself"
    return problem(Refusal(title="the machine refused", status=500, detail=detail, reason="kernel"))


def _os_error(request: Request, error: OSError) -> Response:
    _log.error("request failed", path=request.url.path, reason=str(error))
    if error.errno not in _DISK:
        return problem(Refusal(title="the machine refused", status=500, detail=str(error), reason="kernel"))
    detail = f"the state could not be stored ({error.strerror}), so nothing was applied; free space and push again"
    return problem(Refusal(title="the disk refused", status=507, detail=detail, reason="disk"))


def _http_error(request: Request, error: HTTPException) -> Response:
    del request
    reason = {404: "not_found", 405: "not_allowed", 413: "too_large"}.get(error.status_code, "http")
    body = Refusal(title=error.detail.lower(), status=error.status_code, detail=error.detail.lower(), reason=reason)
    response = problem(body)
    response.headers.update(error.headers or {})
    return response
