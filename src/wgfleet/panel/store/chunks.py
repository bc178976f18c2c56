"""Chunks of long lists: a statement takes a limited number of parameters."""

from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")

# SQLite takes 32,766 parameters, PostgreSQL 65,535; beyond a few hundred a longer statement is no quicker.
SIZE = 500


def together(values: Mapping[str, T]) -> dict[T, list[str]]:
    """Return the keys of each value: what is set to one value takes one statement."""
    found: dict[T, list[str]] = {}
    for key, value in values.items():
        found.setdefault(value, []).append(key)
    return found


def chunked(values: Collection[str]) -> Iterator[list[str]]:
    """Yield the values in lists of at most `SIZE`."""
    items = list(values)
    for start in range(0, len(items), SIZE):
        yield items[start : start + SIZE]
