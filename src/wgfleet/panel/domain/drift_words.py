"""Drift of nodes in words: a line for each field that differs, which people read in their language. Pure."""

from wgfleet.protocol.diff import Drift, absent
from wgfleet.protocol.reasons import Reason

_KNOWN = {
    str(each): each
    for each in (
        Reason("present"),
        Reason("absent"),
        Reason("(secret)"),
        Reason("True"),
        Reason("False"),
        Reason("IPv6 is disabled on this machine"),
    )
}
_ABSENT = absent("")


def line(drift: Drift) -> str:
    """Return a line about a field; what an agent says in words of its own stays as it says it."""
    wanted, found = _value(drift.desired), _value(drift.observed)
    return Reason("{field}: wanted {wanted}, found {found}", field=drift.field, wanted=wanted, found=found)


def _value(text: str) -> str:
    if text.startswith(_ABSENT):
        return Reason("absent: {why}", why=_value(text.removeprefix(_ABSENT)))
    return _KNOWN.get(text, text)
