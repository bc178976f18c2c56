"""The steps in which the panel's CA is replaced, so that panel and agents always have one in common."""

from enum import StrEnum


class AuthorityStep(StrEnum):
    """What agents are being given."""

    SPREAD = "spread"  # agents trust the old and the new CA, and show certificates of the old one
    DROPPED = "dropped"  # agents trust the new CA only, and show certificates of it


class Trust(StrEnum):
    """Which CAs an agent trusts, as far as the panel knows: it may be one step ahead of that, never behind."""

    CURRENT = "current"  # the one there is, or the old one while that is being replaced
    BOTH = "both"  # the old and the new one
    NEXT = "next"  # the new one only


def wanted(step: AuthorityStep | None, has: Trust) -> Trust:
    """Return what an agent is to trust next. `step` None: no CA is being replaced.

    Each agent takes both steps: in between, it can be called with certificates of either CA. So nobody has to know
    whether it had already taken the second one when the panel was killed.
    """
    if step is None:
        return Trust.CURRENT
    return Trust.BOTH if step is AuthorityStep.SPREAD or has is Trust.CURRENT else Trust.NEXT
