"""Bases of bodies and views, and the parameters that all subjects share."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar, overload

import msgspec
from fastapi import Path, Query, Response
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation
from pydantic_core import PydanticCustomError

from wgfleet.protocol.addresses import LAST_PORT
from wgfleet.protocol.reasons import plain

MAX_PAGE = 1000
_ID = r"^[0-9a-f]{32}$"
_PRINTABLE = r"^[!-~]+$"  # what no id or name of ours goes beyond; a NUL would upset PostgreSQL

_NO_CONTROLS = r"[^\x00-\x1f\x7f-\x9f]"
LINE, SOME_LINE = f"^{_NO_CONTROLS}*$", f"^{_NO_CONTROLS}+$"
WORD_IN_PATH = r"^[^\x00-\x1f/\x7f-\x9f]+$"
"""Patterns of what names may be made of: no control characters."""

_NUMBER = re.compile(r"[+-]?[0-9.]+")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

T = TypeVar("T")
Row = TypeVar("Row")


def _no_number(value: object) -> object:
    if isinstance(value, str) and _NUMBER.fullmatch(value):  # pydantic would count s since 1970
        raise PydanticCustomError("datetime_parsing", "input should be a datetime, no number")
    return value


def _from_its_beginning(value: object) -> object:
    return f"{value}T00:00:00Z" if isinstance(value, str) and _DAY.fullmatch(value) else value


Moment = Annotated[AwareDatetime, BeforeValidator(_from_its_beginning), BeforeValidator(_no_number)]
"""A moment; or a day, by UTC, whose beginning it is."""

LocalMoment = Annotated[datetime, BeforeValidator(_no_number)]
"""A moment; or a day, or an hour of it, by the clock of a time zone that is given beside it."""


class Body(BaseModel):
    """A request body: strict JSON types, and no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


NEW_FILE = "Whether something that their file says was changed since it was last taken from here."
UNCHANGED: Any = None  # the value of a field of `PatchBody` that was left out; nobody reads it


class PatchBody(Body):
    """The body of a PATCH. A field that is left out keeps its value, so OpenAPI must not show a default for it."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    def given(self) -> dict[str, Any]:
        """Return what was sent."""
        return self.model_dump(exclude_unset=True)


Said = SkipValidation[str]
"""A sentence that pages say in the reader's language: it is passed on as the service made it."""


class View(BaseModel):
    """A response body."""

    model_config = ConfigDict(hide_input_in_errors=True)


class Page(View, Generic[T]):
    """A page of a list."""

    items: list[T]
    next: str | None = Field(
        default=None, description="Cursor: pass it as `after` to get the next page; null on the last page."
    )


@overload
def utc(seconds: float) -> datetime: ...
@overload
def utc(seconds: None) -> None: ...
@overload
def utc(seconds: float | None) -> datetime | None: ...
def utc(seconds: float | None) -> datetime | None:
    """Turn s since the epoch, as rows have it, into the time that answers show."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def cut(rows: Sequence[Row], limit: int) -> tuple[list[Row], str | None]:
    """Return a page's rows, of those that were read with `limit + 1`, and the cursor of the next page."""
    shown = list(rows[:limit])
    last: Any = shown[-1] if len(rows) > limit else None
    return shown, last.id if last is not None else None


def cut_after(
    rows: Iterable[Row], key: Callable[[Row], str], after: str | None, limit: int
) -> tuple[list[Row], str | None]:
    """As `cut`, of rows that were all read: those after the cursor, in the order of what it is made of."""
    left = sorted((row for row in rows if after is None or key(row) > after), key=key)
    return left[:limit], key(left[limit - 1]) if len(left) > limit else None


def page(rows: Sequence[Row], limit: int, views: Callable[[Sequence[Row]], list[T]]) -> Page[T]:
    """Make a page of rows that were read with `limit + 1`: the one too many says that there are more."""
    shown, following = cut(rows, limit)
    return Page(items=views(shown), next=following)


Shown = dict[str, object]
"""A thing as it is shown, with the fields of its view."""
_encoder = msgspec.json.Encoder(enc_hook=plain)


def encoded(value: object, status: int = HTTPStatus.OK) -> Response:
    """Answer with what is shown, encoded at once: by the framework's models a page of 100 takes three times as long.

    The view of it is what the answer is, for its readers and for OpenAPI; tests compare it with what is shown.
    """
    return Response(_encoder.encode(value), status, media_type="application/json")


def encoded_page(items: Sequence[Shown], following: str | None = None, status: int = HTTPStatus.OK) -> Response:
    """Answer with a page, likewise; `following`: the cursor of the next one."""
    return encoded({"items": items, "next": following}, status)


After = Annotated[
    str | None, Query(max_length=32, pattern=_ID, description="Cursor: pass `next` from the previous page.")
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Maximum number of items.")]
LongLimit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Maximum number of items.")]
"""Of lists that were not paged at first: who does not page gets what there is, up to `MAX_PAGE`."""
PeersAfter = Annotated[
    str | None, Query(max_length=1024, pattern=_PRINTABLE, description="Cursor: pass `next` from the previous page.")
]
"""Of peers, which may be sorted by name: the cursor has the one that was last."""
NameAfter = Annotated[
    str | None,
    Query(max_length=64, pattern=LINE, description="Cursor: pass `next` from the previous page."),
]
Reference = Annotated[str, Path(max_length=64, pattern=_PRINTABLE, description="An id or a name.")]
Identifier = Annotated[str, Path(max_length=64, pattern=_PRINTABLE, description="An id.")]
ReferenceFilter = Annotated[str | None, Query(max_length=64, pattern=_PRINTABLE, description="An id or a name.")]
Word = Annotated[str | None, Query(max_length=128, pattern=_PRINTABLE)]
Port = Annotated[int, Field(ge=1, le=LAST_PORT)]
