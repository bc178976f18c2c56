"""Middleware for request bodies: their maximum size, and JSON as the default content type."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wgfleet.panel.api.problems import answer

MAX_BODY = 16 * 1024 * 1024  # 10,000 peers with every field are 5 MB
_TOO_LARGE = f"the body is larger than {MAX_BODY // 1024 // 1024} MB; send it in parts"
_FORM = b"application/x-www-form-urlencoded"
# A page of a stranger cannot send these, so reading its form as JSON opens nothing.
_CREDENTIALS = {b"authorization", b"x-api-key"}


class BodyLimit:
    """Refuses a body that is too large: immediately if its length is announced, else once it exceeds the limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > MAX_BODY:
            refusal = answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large", _TOO_LARGE)
            await refusal(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
            return message

        await self._app(scope, counted, send)


class JsonByDefault:
    """Lets `curl -d '{...}'` work: a call with an API key has JSON in its body; no route takes forms."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _CREDENTIALS & {name for name, _ in scope["headers"]}:
            # In place: a copy would hide from those outside what the router writes into the scope.
            scope["headers"] = [
                (name, b"application/json" if name == b"content-type" and value.startswith(_FORM) else value)
                for name, value in scope["headers"]
            ]
        await self._app(scope, receive, send)
