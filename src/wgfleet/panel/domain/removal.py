"""What comes next when a node leaves a config. Pure: everything is read off rows, so a restart changes nothing.

BACKUP → PLACE → TAKEOVER → RETIRE → CLEAN → CLOSE. Each step may be done again without harm.
"""

from dataclasses import dataclass
from enum import StrEnum


class RemovalStep(StrEnum):
    """What the executor does next."""

    BACKUP = "backup"
    PLACE = "place"
    TAKEOVER = "takeover"  # also the wait for the drain window
    RETIRE = "retire"  # the interface is to be deleted: written down before it is asked for
    CLEAN = "clean"  # the node deletes it, if it can be reached
    CLOSE = "close"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class RemovalView:
    """A removal as its rows stand. Times in s since the epoch.

    `unsettled`: moves that are neither done nor given up. `drain_ends_at`: when waiting for them ends.
    `retired`: the assignment's phase is `removed`. `owed`: the node still has the interface.
    `clean_ends_at`: when waiting for the node to delete it ends.
    """

    finished: bool
    has_backup: bool
    placed: bool
    unsettled: int
    drain_ends_at: float
    retired: bool
    owed: bool
    clean_ends_at: float


def next_step(view: RemovalView, now: float) -> RemovalStep:
    """Name the next step of a removal."""
    if view.finished:
        return RemovalStep.DONE
    if not view.has_backup:
        return RemovalStep.BACKUP
    if not view.placed:
        return RemovalStep.PLACE
    if not view.retired:
        return RemovalStep.TAKEOVER if view.unsettled and now < view.drain_ends_at else RemovalStep.RETIRE
    return RemovalStep.CLEAN if view.owed and now < view.clean_ends_at else RemovalStep.CLOSE
