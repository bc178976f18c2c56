"""Rows of recalls that are owed: assignments and removals whose clients have yet to be called once more.

They outlive the process that is to make the calls: a client that a node turned to itself, and then dropped, notices by
itself only after 15 s, and one of a node that is gone never does.
"""

from collections.abc import Sequence

from sqlalchemy import delete, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import OwedRecall
from wgfleet.panel.store.wakes import Topic


def owe(tx: Tx, subject_id: str, since: float) -> None:
    """Have the clients of an assignment, or of a removal, called."""
    if tx.session.get(OwedRecall, subject_id) is None:
        tx.session.add(OwedRecall(subject_id=subject_id, since=since))
    tx.wake(Topic.FENCED, subject_id)


def subjects(tx: Tx) -> Sequence[str]:
    """Return the ids of those that are owed, the oldest first."""
    return tx.session.scalars(select(OwedRecall.subject_id).order_by(OwedRecall.since)).all()


def since(tx: Tx, subject_id: str) -> float | None:
    """Return since when they are owed; None: they are not."""
    row = tx.session.get(OwedRecall, subject_id)
    return None if row is None else row.since


def settle(tx: Tx, subject_id: str) -> None:
    """Note that the calls were made."""
    tx.session.execute(delete(OwedRecall).where(OwedRecall.subject_id == subject_id))
