"""Quotas of nodes: how much of what a peer has left each node lets through. Pure.

One node holds all that is left: the one that has the peer's session, else its home. Where a peer goes while the panel
is away, a tenth is let through: so what it can take beyond its limit is bounded, and it is not cut off. As soon as the
panel sees where a peer is, that node holds all.
"""

SHARE = 10
LEAST_SHARE = 1 << 20  # bytes: what a page of a peer's new node may take before the panel has seen it there


def part(left: int, *, holds: bool) -> int:
    """Return how much of what is left a node lets through."""
    return left if holds else min(left, max(LEAST_SHARE, left // SHARE))


def is_news(ceiling: int, said: int | None, left: int, *, holds: bool) -> bool:
    """Tell whether a node must hear of a ceiling, given the one that it heard last.

    What a peer uses at its holder changes nothing there, and at other nodes little.
    """
    return said is None or abs(ceiling - said) > (0 if holds else part(left, holds=False) // SHARE)
