"""Routes whose bodies may be large: their JSON is parsed in a thread that lets the event loop go on.

The parser is C and would hold the interpreter to its end, in whatever thread; it is left once for each object.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

MAX_FIELDS = 64  # of one object; each unknown one becomes an error of a few hundred bytes
_LARGE = 64 * 1024
_THREADS = ThreadPoolExecutor(2, "large-body")


class LargeBodies(APIRoute):
    """A route that reads large bodies beside the event loop."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with another way to read JSON."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            return await handle(LargeRequest(request.scope, request.receive))

        return handled


class LargeRequest(Request):
    """A request whose JSON is parsed in a thread if it is large."""

    async def json(self) -> Any:
        """Parse the body; raise as `json.loads` does."""
        body = await self.body()
        if len(body) < _LARGE:
            return _parse(body)
        return await asyncio.get_running_loop().run_in_executor(_THREADS, _parse, body)


def _parse(body: bytes) -> Any:
    return json.loads(body, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_FIELDS:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"An object has more than {MAX_FIELDS} fields")
    return dict(pairs)
