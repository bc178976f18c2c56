"""The verdict on a node that joins: may users be sent there, by who got an answer of its WireGuard. Pure."""

from collections.abc import Sequence
from enum import StrEnum

UNPROVEN_S = 5.0  # how long it is looked at where nobody can tell


class FirstLook(StrEnum):
    """The result of the probes of a node before users were sent there."""

    ANSWERED = "answered"
    UNREACHED = "unreached"  # others are reached and it is not: it is not published and gets no peers
    UNPROVEN = "unproven"  # nobody could tell, so it serves by its agent's word


def verdict(*, answered: bool, missed_by: Sequence[str], proven: bool, looked_for_s: float) -> FirstLook | None:
    """Judge a node that joins; None: it is too early to.

    `missed_by`: those whose probes went out and got no answer. `proven`: another node is reached, so that silence says
    something of this one. `looked_for_s`: since the first look.
    """
    if answered:
        return FirstLook.ANSWERED
    if proven and missed_by:
        return FirstLook.UNREACHED
    return FirstLook.UNPROVEN if looked_for_s > UNPROVEN_S else None
