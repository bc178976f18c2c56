"""Chunks of long lists: a statement takes a limited number of parameters."""

from collections.abc import Collection, Iterator

# SQLite takes 32,766 parameters, PostgreSQL 65,535; beyond a few hundred a longer statement is no quicker.
SIZE = 500


def chunked(values: Collection[str]) -> Iterator[list[str]]:
    """Yield the values in lists of at most `SIZE`."""
    items = list(values)
    for start in range(0, len(items), SIZE):
        yield items[start : start + SIZE]
