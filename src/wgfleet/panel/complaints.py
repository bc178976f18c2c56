"""Complaints of pydantic about fields, in words: its own or ours, as reasons that people get in their language."""

import re
from collections.abc import Mapping
from typing import Any

from wgfleet.protocol.reasons import Reason, template, words_of

# Where pydantic's own words speak of Python or of regular expressions, or of what is wrong with a date.
_MOMENT = Reason(
    "must be a date such as 2030-01-31, or a date and a time with its time zone such as 2030-01-31T12:00:00Z"
)
_WORDS = {
    "datetime_from_date_parsing": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_type": _MOMENT,
    "extra_forbidden": Reason("there is no such field"),
    "missing": Reason("must be given"),
    "model_attributes_type": Reason("must be a JSON object"),
    "string_pattern_mismatch": Reason("has a character that it cannot have, such as a space or an accented letter"),
    "timezone_aware": _MOMENT,
    "too_long": template("takes {max_length} at most, not {actual_length}"),
    "too_short": template("needs {min_length} or more"),
}
_SLASH = Reason("must be without a slash, which would divide the path of calls and pages")
_ONE_LINE = Reason("must be one line, without control characters")
_FORM = Reason("does not have the form that it must have")
_CHARACTERS = re.compile(r"\^\[.+\](\[.+\])?[*+]\$", re.DOTALL)  # nothing but which characters there may be
_EMPTY = Reason("is empty; give a value, or leave it out")
# Pydantic's own words. The first that it says is meant.
_PYDANTIC = {
    "bool_parsing": (template("input should be a valid boolean, unable to interpret input"),),
    "bool_type": (template("input should be a valid boolean"),),
    "enum": (template("input should be {first} or {last}"), template("input should be {only}")),
    "finite_number": (template("input should be a finite number"),),
    "float_parsing": (template("input should be a valid number, unable to parse string as a number"),),
    "float_type": (template("input should be a valid number"),),
    "greater_than": (template("input should be greater than {gt}"),),
    "greater_than_equal": (template("input should be greater than or equal to {ge}"),),
    "int_from_float": (template("input should be a valid integer, got a number with a fractional part"),),
    "int_parsing": (template("input should be a valid integer, unable to parse string as an integer"),),
    "int_parsing_size": (template("unable to parse input string as an integer, exceeded maximum size"),),
    "int_type": (template("input should be a valid integer"),),
    "less_than": (template("input should be less than {lt}"),),
    "less_than_equal": (template("input should be less than or equal to {le}"),),
    "literal_error": (template("input should be {first} or {last}"), template("input should be {only}")),
    "string_too_long": (
        template("string should have at most {max_length} characters"),
        template("string should have at most 1 character"),
    ),
    "string_too_short": (
        template("string should have at least {min_length} characters"),
        template("string should have at least 1 character"),
    ),
    "string_type": (template("input should be a valid string"),),
}


def words(item: Mapping[str, Any]) -> str:
    """Return what one of pydantic's complaints says, a `Reason` if people can have it in their language."""
    kind, values = item["type"], _values(item.get("ctx") or {})
    misfit = _misfit(str(values.get("pattern")), item.get("input")) if kind == "string_pattern_mismatch" else None
    if misfit is not None:
        return misfit
    if kind in _WORDS:
        known = _WORDS[kind]
        return known if isinstance(known, Reason) else Reason(known, **values)
    detail = str(item["msg"]).removeprefix("Value error, ")
    detail = detail[:1].lower() + detail[1:]
    ours = values.get("error")
    if isinstance(ours, ValueError) and (said := words_of(ours)) == detail:
        return said
    for known in _PYDANTIC.get(kind, ()):
        try:
            found = Reason(known, **values)
        except LookupError:
            continue
        if found == detail:
            return found
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
