"""Long lists of nodes on pages that have more than them: those with a trouble first, the rest when asked for."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

from fastapi import Query

Thing = TypeVar("Thing")
SHOWN = 25
Every = Annotated[Literal["", "yes"], Query()]
"""Whether all are wanted, in the address of the page."""


def worst_first(things: Sequence[Thing], is_wrong: Callable[[Thing], bool], every: Every) -> list[Thing]:
    """Return all where they fit or are wanted, in their order; else as many as fit, those that are wrong first."""
    if every or len(things) <= SHOWN:
        return list(things)
    return sorted(things, key=lambda each: not is_wrong(each))[:SHOWN]
