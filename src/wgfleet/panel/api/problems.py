"""Errors as RFC 9457 `application/problem+json`. Of a body that is not valid nothing is repeated: it may hold a key."""

import itertools
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from wgfleet.panel import complaints
from wgfleet.panel.api.hints import sentence
from wgfleet.panel.errors import Invalid, PanelError, Unauthorized
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.quotes import quoted

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "request_id"
"""Under which name the log's context has the id of a request."""
_MAX_ERRORS = 100  # listed; nobody corrects more at once


class FieldProblem(BaseModel):
    """One wrong field of a request."""

    field: str = Field(description="Dotted path with indexes.", examples=["peers[3].name"])
    detail: str = Field(description="What is wrong with it, and what is allowed.")


class ProblemHint(BaseModel):
    """A way out of a refusal, for programs that have words or links of their own for it."""

    code: str = Field(
        description="Which call helps. The examples are all codes; later versions may add some.",
        examples=[code.value for code in HintCode],
    )
    arguments: dict[str, str] = Field(
        description="The ids or names that the call needs, as far as they are known.",
        examples=[{"config": "wg0", "node": "fra1"}],
    )


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(
        default="about:blank", description="Always `about:blank`; `status` and `title` identify the kind of problem."
    )
    title: str = Field(description="The kind of problem.", examples=["conflict"])
    status: int = Field(description="The HTTP status.", examples=[409])
    detail: str = Field(description="What is wrong, and the ways out as calls of this API.")
    reason: str | None = Field(default=None, description="`detail` without the ways out, where `hints` have them.")
    hints: list[ProblemHint] | None = Field(default=None, description="The ways out; any one of them is enough.")
    request_id: str | None = Field(default=None, description="The id of the request, as in the panel's log.")
    field: str | None = Field(default=None, description="The first wrong field, if a field is wrong.")
    errors: list[FieldProblem] | None = Field(
        default=None, description="The wrong fields, if a field is wrong: of a list, those of its first wrong item."
    )


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""
    app.add_exception_handler(PanelError, _panel_error)
    app.add_exception_handler(FieldError, _field_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)


def answer(
    status: int,
    title: str,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    headers: dict[str, str] | None = None,
    hints: tuple[Hint, ...] = (),
) -> JSONResponse:
    """Form the answer; a wrong field among `errors` comes out as `field` too, and `hints` at the end of `detail`."""
    problem = Problem(
        title=title,
        status=status,
        detail=sentence(detail, hints),
        reason=detail if hints else None,
        hints=[ProblemHint(code=hint.code.value, arguments=hint.arguments) for hint in hints] or None,
        field=errors[0].field if errors else None,
        errors=list(errors) or None,
        request_id=structlog.contextvars.get_contextvars().get(REQUEST_ID),
    )
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def _panel_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PanelError)  # noqa: S101 - the handler is registered for this class only
    return of(error)


def of(error: PanelError) -> JSONResponse:
    """Form the answer to an error of the panel's own."""
    headers = error.retry_headers
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    errors = [FieldProblem(field=error.field, detail=sentence(error.detail, error.hints))] if error.field else []
    return answer(error.status, error.title, error.detail, errors, headers, error.hints)


def _field_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FieldError)  # noqa: S101 - as above
    return answer(Invalid.status, Invalid.title, str(error), [FieldProblem(field=error.field, detail=error.detail)])


def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    if error.errors()[0]["loc"] == ("body",) and isinstance(error.errors()[0].get("input"), bytes):
        # A body that FastAPI did not read as JSON, since nothing says that it is.
        kind = request.headers.get("content-type", "")
        said = f"is of the type {quoted(kind)}" if kind else "has no Content-Type"
        detail = f"the body {said}; send it as JSON, with Content-Type: application/json"
        return answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported media type", detail)
    found = [field_problem(item) for item in itertools.islice(error.errors(), _MAX_ERRORS)]
    first = found[0]
    if error.errors()[0]["type"] == "json_invalid":
        return answer(HTTPStatus.BAD_REQUEST, "not JSON", "the body is not JSON; send Content-Type: application/json")
    others = len(error.errors()) - 1
    more = f" (and {others} more)" if others else ""
    return answer(Invalid.status, Invalid.title, f"{first.field}: {first.detail}{more}", found)


def field_problem(item: dict[str, Any]) -> FieldProblem:
    """Return one of pydantic's complaints as ours."""
    field, detail = field_words(item)
    return FieldProblem(field=field, detail=str(detail))


def field_words(item: dict[str, Any]) -> tuple[str, str]:
    """Return which field one of pydantic's complaints is about, and the words, a `Reason` if people can have them."""
    field = ""
    # The first part says body, query or path; a discriminator or the name of a union's member is no field either.
    for part in item["loc"][1:]:
        if isinstance(part, int):
            field += f"[{part}]"
        elif part.isidentifier() and part[0].islower():
            field += f".{part}" if field else part
    return field or str(item["loc"][0]), complaints.words(item)


def _http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    phrase = HTTPStatus(error.status_code).phrase
    own = error.detail not in {phrase, _UNREADABLE}
    detail = error.detail if own else _DETAILS.get(error.status_code, phrase)
    return answer(error.status_code, phrase.lower(), detail[:1].lower() + detail[1:], headers=dict(error.headers or {}))


_UNREADABLE = "There was an error parsing the body"  # FastAPI's, of bytes that are no text
_DETAILS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "the body is not JSON in UTF-8, or nested too deep, or has a number that is too long",
    HTTPStatus.NOT_FOUND: "there is nothing under this path; see /openapi.json for what there is",
    HTTPStatus.METHOD_NOT_ALLOWED: "the path does not take this method; the header Allow names those that it takes",
}


def _bug(_request: Request, _error: Exception) -> JSONResponse:
    # The server logs the traceback; a stranger gets none of it.
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "error", "the panel failed on this request; its log says why")
