"""The OpenAPI document: FastAPI's own, completed by the problems that routes answer with."""

import functools
import json
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from wgfleet.panel.api.auth import OPEN_PATHS
from wgfleet.panel.api.problems import MEDIA_TYPE, FieldProblem, Problem, ProblemHint

_EVERYWHERE = {
    400: "The body is not JSON.",
    408: "The body arrives too slowly.",
    413: "The body is larger than 1 MB (peers/batch and imports: 16 MB; without a key: 64 kB), or has too many values.",
    422: "A value is not valid; `field` names it.",
    500: "Internal error; see the panel's log.",
    503: "The database is unavailable; `Retry-After` says when to try again.",
}
_REFUSED = {
    401: "The credential is missing or unknown.",
    429: "Too many calls of this key at a time, or too many refused callers from this address; see `Retry-After`.",
}
_STRANGER = _REFUSED | {411: "The body is sent in chunks."}
_WITH_KEY = _REFUSED | {403: "The API key lacks the scope."}
_WITH_OBJECT = {404: "The object does not exist.", 409: "The request conflicts with the current state."}


def install(app: FastAPI) -> None:
    """Let the app answer `/openapi.json` with the completed document, which is put together and encoded once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(
                get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way that FastAPI documents
    encoded = functools.cache(lambda: json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode())

    async def answer(_request: Request) -> Response:
        return Response(encoded(), media_type="application/json")

    app.add_route("/openapi.json", answer, include_in_schema=False)


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components = document["components"]
    for model in (FieldProblem, ProblemHint, Problem):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        components["schemas"][model.__name__] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    described = _EVERYWHERE | _STRANGER | _WITH_KEY | _WITH_OBJECT
    components["responses"] = {
        f"Problem{status}": {
            "description": text,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, text in described.items()
    }
    for path, operations in document["paths"].items():
        statuses = set(_EVERYWHERE | _WITH_OBJECT)
        if path not in OPEN_PATHS:
            statuses |= set(_WITH_KEY)
        elif "post" in operations:
            statuses |= set(_STRANGER)
        for operation in operations.values():
            for status in sorted(statuses):
                operation["responses"][str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    return document
