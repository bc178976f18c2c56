"""Common parts of the agent's handlers: reading a request, answering, turning errors into problems."""

import asyncio
import errno
import time
from typing import TypeVar

import msgspec
import structlog
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from wgfleet.agent.interfaces.admission import RefusedError
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.features import HEARD_HEADER
from wgfleet.protocol.ids import InterfaceName, parse_interface_name
from wgfleet.protocol.messages import Refusal

MAX_BODY = 64 * 1024 * 1024  # 65,536 peers are 12 MB
_READ_TIMEOUT_S = 30.0  # for the next part of a body
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}
_log = structlog.get_logger()
encode = msgspec.json.Encoder().encode
T = TypeVar("T")


def answer(body: Struct, status: int = 200) -> Response:
    """Build a JSON response."""
    return Response(encode(body), status, media_type="application/json")


def problem(refusal: Refusal) -> Response:
    """Build an RFC 9457 response."""
    return Response(encode(refusal), refusal.status, media_type="application/problem+json")


def decode(body: bytes, kind: type[T]) -> T:
    """Decode a JSON body; raise `FieldError` naming the wrong field."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        detail, _, place = str(error).partition(" - at `")
        raise FieldError(place.rstrip("`").removeprefix("$.").removeprefix("$") or "body", detail) from None


async def read_body(request: Request) -> bytes:
    """Read the whole body, within its limits of size and time."""
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
            raise HTTPException(413, f"the body is larger than {MAX_BODY} bytes; push deltas")


def heard_at(request: Request) -> float:
    """Return when the panel last heard this agent, in s of the monotonic clock; one of 0.1.0 does not say: now."""
    try:
        return float(request.headers[HEARD_HEADER])
    except (KeyError, ValueError):
        return time.monotonic()


def interface_name(request: Request) -> InterfaceName:
    """Parse the interface in the path."""
    return parse_interface_name(request.path_params["name"], "interface")


def field_error(request: Request, error: FieldError) -> Response:
    del request
    return problem(
        Refusal(
            title="a field is invalid",
            status=400 if error.field == "body" else 422,
            detail=str(error),
            reason="bad_field",
            field=error.field,
        )
    )


def kernel_error(request: Request, error: KernelError) -> Response:
    _log.error("request.failed", path=request.url.path, reason=str(error))
    detail = f"{error}; the agent keeps retrying"
    return problem(Refusal(title="the machine refused", status=500, detail=detail, reason="kernel"))


def os_error(request: Request, error: OSError) -> Response:
    _log.error("request.failed", path=request.url.path, reason=str(error))
    if error.errno not in _DISK:
        return problem(Refusal(title="the machine refused", status=500, detail=str(error), reason="kernel"))
    detail = f"the state could not be stored ({error.strerror}), so nothing was applied; free space and push again"
    return problem(Refusal(title="the disk refused", status=507, detail=detail, reason="disk"))


def http_error(request: Request, error: HTTPException) -> Response:
    del request
    reason = {404: "not_found", 405: "not_allowed", 413: "too_large"}.get(error.status_code, "http")
    body = Refusal(title=error.detail.lower(), status=error.status_code, detail=error.detail.lower(), reason=reason)
    response = problem(body)
    response.headers.update(error.headers or {})
    return response


def refused_error(request: Request, error: RefusedError) -> Response:
    del request
    return problem(error.refusal)
