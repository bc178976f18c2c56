"""JSON bodies of calls: texts are texts, no object says a field twice, and large ones are parsed in a thread.

The parser is C and would hold the interpreter to its end, in whatever thread; it is left once for each object.
"""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.quotes import quoted
from wgfleet.protocol.reasons import Reason

MAX_FIELDS = 64  # of one object; each unknown one becomes an error of a few hundred bytes
_LARGE = 64 * 1024
# An emoji is two of them in JSON, and one alone is in no text: neither a database nor an answer takes it.
_PERHAPS_HALF = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
_HALF = re.compile(r"[\ud800-\udfff]")
_THREADS = ThreadPoolExecutor(2, "large-body")


class CarefulRequest(Request):
    """A request whose JSON has each field of an object once."""

    async def json(self) -> Any:
        """Parse the body; raise as `json.loads` does."""
        return _checked(await self.body(), _once_each)


class CarefulJson(APIRoute):
    """A route whose bodies say each field once: of two values of a field Python takes the last, others the first."""

    request_class = CarefulRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with another way to read JSON."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(self.request_class(request.scope, request.receive))
            except _NoText as error:
                raise FieldError(error.field, Reason("has half of a character, which no text has")) from None

        return handled


class LargeRequest(CarefulRequest):
    """A request whose JSON is parsed in a thread if it is large."""

    async def json(self) -> Any:
        """Parse the body; raise as `json.loads` does."""
        body = await self.body()
        if len(body) < _LARGE:
            return _parse(body)
        return await asyncio.get_running_loop().run_in_executor(_THREADS, _parse, body)


class _NoText(HTTPException):
    """A text of the body has half of a character; of this class, since FastAPI hides others behind one of its own."""

    def __init__(self, field: str) -> None:
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY)
        self.field = field


def _parse(body: bytes) -> Any:
    return _checked(body, _object)


def _checked(body: bytes, hook: Callable[[list[tuple[str, Any]]], dict[str, Any]]) -> Any:
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    value = json.loads(text, object_pairs_hook=hook)
    if _PERHAPS_HALF.search(text):
        _refuse_halves(value)
    return value


def _refuse_halves(body: Any) -> None:
    """Raise `_NoText` with the path of the first text or name that has half of a character.

    What it keeps grows with the depth of the body alone: a path for each value would be a thousand times its size.
    """
    path: list[str] = []
    left: list[Iterator[tuple[str, Any]]] = [iter([("", body)])]
    while left:
        found = next(left[-1], None)
        if found is None:
            left.pop()
            if path:
                path.pop()
            continue
        part, value = found
        texts = value if isinstance(value, dict) else [value] if isinstance(value, str) else ()
        if any(_HALF.search(text) for text in texts):
            raise _NoText("".join([*path, part]).removeprefix(".") or "body")
        if isinstance(value, dict):
            left.append((f".{name}", each) for name, each in value.items())
            path.append(part)
        elif isinstance(value, list):
            left.append((f"[{number}]", each) for number, each in enumerate(value))
            path.append(part)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_FIELDS:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"An object has more than {MAX_FIELDS} fields")
    return _once_each(pairs)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value] # None
    raise HTTPException(
        HTTPStatus.UNPROCESSABLE_ENTITY, f"the field {quoted(name)} stands twice in one object; give it once"
    )


class LargeBodies(CarefulJson):
    """A route that reads large bodies beside the event loop."""

    request_class = LargeRequest
