"""Cursors of lists that are asked for in several ways: one that another list gave is refused. Pure.

A place alone does not say which list it is in: in one that is sorted in another way, or is of another config, pages
would begin again, or end, and nobody would notice.
"""

import json
from hashlib import blake2b

from wgfleet.panel.errors import Invalid
from wgfleet.protocol.reasons import Reason

_BYTES = 4  # against mistakes, no forgers: what a cursor leads to may be asked for without one, too


def bound(place: str | None, *asked: str | None) -> str | None:
    """Return the cursor of a place in the list of what was asked for; None, as the place is, on the last page."""
    return None if place is None else f"{place}.{_mark(asked)}"


def place_of(cursor: str | None, *asked: str | None) -> str | None:
    """Return the place that a cursor has in the list of what is asked for; refuse one that this list did not give."""
    if cursor is None:
        return None
    place, _, mark = cursor.rpartition(".")
    if mark != _mark(asked):
        raise refused()
    return place


def refused() -> Invalid:
    """Return the refusal of a cursor that another list gave, or none."""
    return Invalid(
        Reason("pass `next` of the page before, and ask for the same list: its config, filters and order"),
        field="after",
    )


def _mark(asked: tuple[str | None, ...]) -> str:
    return blake2b(json.dumps(asked).encode(), digest_size=_BYTES).hexdigest()
