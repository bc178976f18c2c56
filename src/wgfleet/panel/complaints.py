"""Complaints of pydantic about fields, in words of ours, as reasons that people get in their language."""

import contextlib
import re
from collections.abc import Mapping
from typing import Any

from wgfleet.protocol.reasons import Reason, template, words_of

_MOMENT = Reason(
    "must be a date such as 2030-01-31, or a date and a time with its time zone such as 2030-01-31T12:00:00Z"
)
_CHOICES = (template("must be {first} or {last}"), template("must be {only}"))
_JSON_LIST = Reason("must be a list, in JSON such as [1, 2]")
_JSON_OBJECT = Reason("must be a JSON object")
_NUMBER = Reason("must be a number such as 1.5")
_SWITCH = Reason("must be true or false")
_WHOLE = Reason("must be a whole number such as 25")
# By pydantic's names of kinds; each says what would be right, and none of them speaks of Python or of parsing. Of
# several templates the first counts of which the values are known.
_WORDS: dict[str, Reason | tuple[str, ...]] = {
    "bool_parsing": _SWITCH,
    "bool_type": _SWITCH,
    "datetime_from_date_parsing": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_type": _MOMENT,
    "dict_type": _JSON_OBJECT,
    "enum": _CHOICES,
    "extra_forbidden": Reason("there is no such field"),
    "finite_number": Reason("must be a finite number"),
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "greater_than": (template("must be more than {gt}"),),
    "greater_than_equal": (template("must be {ge} or more"),),
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": Reason("is too large a number"),
    "int_type": _WHOLE,
    "less_than": (template("must be less than {lt}"),),
    "less_than_equal": (template("must be {le} at most"),),
    "list_type": _JSON_LIST,
    "literal_error": _CHOICES,
    "missing": Reason("must be given"),
    "model_attributes_type": _JSON_OBJECT,
    "model_type": _JSON_OBJECT,
    "string_pattern_mismatch": Reason("has a character that it cannot have, such as a space or an accented letter"),
    "string_too_long": (template("must have {max_length} characters at most"),),
    "string_too_short": (template("must have {min_length} characters or more"),),
    "string_type": Reason("must be text"),
    "timezone_aware": _MOMENT,
    "too_long": (template("takes {max_length} at most, not {actual_length}"),),
    "too_short": (template("needs {min_length} or more"),),
}
_ONE_LETTER = {
    "string_too_long": Reason("must have 1 character at most"),
    "string_too_short": Reason("must have 1 character or more"),
}
_SLASH = Reason("must be without a slash, which would divide the path of calls and pages")
_ONE_LINE = Reason("must be one line, without control characters")
_FORM = Reason("does not have the form that it must have")
_CHARACTERS = re.compile(r"\^\[.+\](\[.+\])?[*+]\$", re.DOTALL)  # nothing but which characters there may be
_EMPTY = Reason("is empty; give a value, or leave it out")


def words(item: Mapping[str, Any]) -> str:
    """Return what one of pydantic's complaints says, a `Reason` if people can have it in their language."""
    kind, values = item["type"], _values(item.get("ctx") or {})
    misfit = _misfit(str(values.get("pattern")), item.get("input")) if kind == "string_pattern_mismatch" else None
    if misfit is not None:
        return misfit
    if kind in _ONE_LETTER and 1 in {values.get("max_length"), values.get("min_length")}:
        return _ONE_LETTER[kind]
    known = _WORDS.get(kind, ())
    if isinstance(known, Reason):
        return known
    for each in known:
        with contextlib.suppress(LookupError):
            return Reason(each, **values)
    detail = str(item["msg"]).removeprefix("Value error, ")
    detail = detail[:1].lower() + detail[1:]
    ours = values.get("error")
    if isinstance(ours, ValueError) and (said := words_of(ours)) == detail:
        return said
    return detail


def _misfit(pattern: str, given: Any) -> str | None:
    """Say what of a text a pattern is against: one that names what may not be in it says it."""
    if given == "":
        return _EMPTY
    if not _CHARACTERS.fullmatch(pattern):
        return _FORM
    if not pattern.startswith("^[^"):
        return None
    if "/" in pattern and "/" in str(given):
        return _SLASH
    return _ONE_LINE if r"\x00" in pattern else None


def _values(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a complaint as it says them: bounds of decimal numbers, and of some choices the last."""
    values = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in context.items()
    }
    first, between, last = str(values.get("expected", "")).rpartition(" or ")
    return {**values, "first": first, "last": last} if between else {**values, "only": last}
