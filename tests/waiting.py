"""How tests wait for something: look again and again, never just sleep."""

from collections.abc import Callable
from typing import TypeVar

from wgfleet.lab.waiting import look_for

T = TypeVar("T")
WITHIN_S = 90.0
EVERY_S = 0.02


def eventually(look: Callable[[], T | None], within_s: float = WITHIN_S, every_s: float = EVERY_S) -> T:
    """Look until something true is seen and return it; fail when it never is."""
    seen = look_for(look, within_s=within_s, every_s=every_s)
    assert seen, f"not so within {within_s:.0f} s"
    return seen
