"""Quotas of nodes: how much of what a peer has left each node lets through. Pure.

One node holds what is left: the one that has the peer's session, else its home; but for a tenth, which the other nodes
have among them. So where a peer goes while the panel is away, it is not cut off, and all of them together never let
through more than what is left. As soon as the panel sees where a peer is, that node holds the rest.
"""

from collections.abc import Sequence

SHARE, AGAIN = 10, 5


def part(left: int, *, holds: bool, others: int) -> int:
    """Return how much of what is left a node lets through, beside which there are `others`."""
    each = left // SHARE // others if others else 0
    return left - each * others if holds else each


def is_news(ceiling: int, said: int | None, left: int, *, holds: bool) -> bool:
    """Tell whether a node must hear of a ceiling, given the one that it heard last.

    What a peer uses at its holder changes little anywhere: it is said again with each fifth of what is left.
    """
    if said is None or (holds and ceiling < said):
        return True
    return abs(ceiling - said) > (left // SHARE // AGAIN if holds else left // SHARE // SHARE)


def bounded(ceiling: int, said: int, total: int, others: Sequence[int]) -> int:
    """Return the ceiling of a holder that leaves what the peer may have come to at `others` (totals, as ceilings are).

    `total`: what it may come to at all nodes together. It never takes back what was said, where that is still wanted.
    """
    return max(min(ceiling, said), min(ceiling, total - sum(others)))
