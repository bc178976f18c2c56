"""Numbers and names of peers as sentences have them, in one place: catalogs have each form once."""

from collections.abc import Sequence

from wgfleet.protocol.reasons import Reason


def in_words(number: int) -> str:
    """Return how many peers there are, such as `1 peer`."""
    return Reason("1 peer") if number == 1 else Reason("{number} peers", number=number)


NAMED = 5  # in a sentence


def names_in_words(names: Sequence[str], count: int | None = None) -> str:
    """Return the first of some names, and how many more there are. `count`: of all, where there are more than names."""
    said, more = ", ".join(sorted(names)[:NAMED]), (count or len(names)) - NAMED
    return Reason("{names} and {more} more", names=said, more=more) if more > 0 else said
