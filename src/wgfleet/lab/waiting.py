"""Waiting for something: look again and again, never just sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

from wgfleet.lab.errors import LabError

T = TypeVar("T")
EVERY_S = 0.1


def look_for(look: Callable[[], T], *, within_s: float, every_s: float = EVERY_S) -> T:
    """Look until something true is seen, or for that many s; return what was seen last."""
    deadline = time.monotonic() + within_s
    while True:
        last = time.monotonic() >= deadline  # read before the look, which may take long: what held in time is seen
        if (seen := look()) or last:
            return seen
        time.sleep(every_s)


def wait_for(
    look: Callable[[], T | None], otherwise: str | Callable[[], str], *, within_s: float, every_s: float = EVERY_S
) -> T:
    """Look until something true is seen and return it; raise `LabError` that says `otherwise` when it never is."""
    seen = look_for(look, within_s=within_s, every_s=every_s)
    if not seen:
        raise LabError(f"{otherwise if isinstance(otherwise, str) else otherwise()} after {within_s:.0f} s")
    return seen
