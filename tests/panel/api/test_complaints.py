"""What is wrong with a field: in plain English in the API, and the reader's language on pages."""

import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from wgfleet.panel.api import SUBJECTS
from wgfleet.panel.api.models import Body
from wgfleet.panel.api.problems import field_words
from wgfleet.panel.web import languages, reasons
from wgfleet.panel.web.forms import SubmittedForm, given_speed
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

MOMENT = "must be a date such as 2030-01-31, or a date and a time with its time zone such as 2030-01-31T12:00:00Z"


class Span(StrEnum):
    """Some choices."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Filled(BaseModel):
    """A form with a field of each kind."""

    share: Annotated[float, Field(ge=0, le=1.5, allow_inf_nan=False)] = 0
    weight: Annotated[float, Field(gt=0, lt=100)] = 1
    letter: Annotated[str, Field(min_length=1, max_length=1)] = "a"
    word: Annotated[str, Field(min_length=2, max_length=3)] = "ab"
    title: Annotated[str, Field(pattern="^[^/]*$")] = "a"
    line: Annotated[str, Field(pattern=r"^[^\x00-\x1f/]+$")] = "a"
    printed: Annotated[str, Field(pattern="^[!-~]+$")] = "a"
    one: Annotated[list[str], Field(min_length=1, max_length=1)] = ["a"]
    two: Annotated[list[str], Field(max_length=2)] = []
    span: Span = Span.DAY
    only: Literal["day"] = "day"
    until: AwareDatetime | None = None
    at: datetime | None = None
    count: Annotated[int, Field(ge=1, le=63)] = 1
    switch: bool = False


@pytest.mark.parametrize(
    ("field", "value", "english", "german"),
    [
        ("share", "-1", "must be 0 or more", "muss mindestens 0 sein"),
        ("share", "2", "must be 1.5 at most", "darf höchstens 1.5 sein"),
        ("share", "inf", "must be a finite number", "muss eine endliche Zahl sein"),
        ("weight", "0", "must be more than 0", "muss größer als 0 sein"),
        ("weight", "100", "must be less than 100", "muss kleiner als 100 sein"),
        ("letter", "", "must have 1 character or more", "muss mindestens 1 Zeichen haben"),
        ("letter", "ab", "must have 1 character at most", "darf höchstens 1 Zeichen haben"),
        ("letter", None, "must be text", "muss ein Text sein"),
        ("word", "a", "must have 2 characters or more", "muss mindestens 2 Zeichen haben"),
        ("word", "abcd", "must have 3 characters at most", "darf höchstens 3 Zeichen haben"),
        ("title", "a/b", "must be without a slash", "darf keinen Schrägstrich haben"),
        ("line", "a/b", "must be without a slash", "darf keinen Schrägstrich haben"),
        ("line", "a\tb", "must be one line", "muss eine Zeile sein"),
        ("line", "", "is empty", "ist leer"),
        ("printed", "a b", "has a character that it cannot have", "enthält ein Zeichen"),
        ("one", [], "needs 1 or more", "braucht 1 oder mehr"),
        (
            "one",
            ["a", "b"],
            "takes 1 at most, not 2",
            "nimmt höchstens 1",
        ),
        (
            "two",
            ["a"] * 3,
            "takes 2 at most, not 3",
            "nimmt höchstens 2",
        ),
        ("span", "x", "must be 'day', 'week' or 'month'", "muss 'day', 'week' oder 'month' sein"),
        ("only", "x", "must be 'day'", "muss 'day' sein"),
        ("until", "soon", MOMENT, "muss ein Datum wie 2030-01-31 sein"),
        ("until", "2030-01-31T12:00:00", MOMENT, "muss ein Datum wie 2030-01-31 sein"),
        ("until", "2030-13-31T12:00:00Z", MOMENT, "muss ein Datum wie 2030-01-31 sein"),
        ("at", [], MOMENT, "muss ein Datum wie 2030-01-31 sein"),
        ("count", 1.5, "must be a whole number such as 25", "muss eine ganze Zahl"),
        (
            "count",
            "1.5",
            "must be a whole number such as 25",
            "muss eine ganze Zahl",
        ),
        ("count", "9" * 5000, "is too large a number", "ist eine zu große Zahl"),
        ("count", None, "must be a whole number such as 25", "muss eine ganze Zahl wie 25 sein"),
        ("switch", "maybe", "must be true or false", "muss wahr oder falsch sein"),
        ("switch", None, "must be true or false", "muss wahr oder falsch sein"),
        ("more", "x", "there is no such field", "ein solches Feld gibt es nicht"),
    ],
)
def test_what_is_wrong_with_a_field_is_said_in_the_language_of_who_reads_it(
    field: str, value: Any, english: str, german: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        Filled.model_validate({field: value}, strict=False, extra="forbid")
    found: Sequence[tuple[str, str]] = [
        field_words({**each, "loc": ("body", *each["loc"])}) for each in _listed(refused)
    ]
    ((of, said),) = found
    assert of == field
    assert isinstance(said, Reason)
    assert said.startswith(english)
    assert reasons.in_words(languages.translations("de").gettext, said).startswith(german)


def test_a_quantity_that_is_none_is_refused_in_the_language_of_who_reads_it() -> None:
    form = SubmittedForm({"download_speed": "fast"})
    with pytest.raises(FieldError, match="download_speed: 'fast' is no speed; write it as 20mbit") as refused:
        given_speed(form, "download_speed")
    said = form.refused(refused.value).wrong["download_speed"]
    assert reasons.in_words(languages.translations("de").gettext, said).startswith("'fast' ist keine Geschwindigkeit; ")


def _listed(refused: pytest.ExceptionInfo[ValidationError]) -> list[dict[str, Any]]:
    return [dict(each) for each in refused.value.errors()]


OF_ALL_KINDS: tuple[Any, ...] = (
    None,
    "",
    "maybe",
    "x" * 9999 + "\x07",
    "9" * 5000,
    -1,
    1.5,
    math.inf,
    10**9,
    True,
    [],
    [1],
    {},
    {"x": 1},
)
PYDANTIC = re.compile(r"input|string|parse|valid|value error|instance|should", re.IGNORECASE)


def _models(of: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in of.__subclasses__():
        yield each
        yield from _models(each)


def test_no_field_of_any_body_is_refused_in_words_of_pydantic() -> None:
    asked = 0
    for model in {each for each in _models(Body) if each.__module__.startswith("wgfleet.panel.")}:
        for field in model.model_fields:
            for value, is_json in itertools.product(OF_ALL_KINDS, (False, True)):
                try:
                    if is_json:
                        model.model_validate_json(json.dumps({field: value}))
                    else:  # of a form
                        model.model_validate({field: value}, strict=False)
                except ValidationError as error:
                    for each in error.errors():
                        _, said = field_words({**each, "loc": ("body", *each["loc"])})
                        assert not PYDANTIC.search(said.partition("'")[0]), (model, field, value, each["type"], said)
                        asked += 1
    assert SUBJECTS, "which have brought the bodies"
    assert asked > 1000
