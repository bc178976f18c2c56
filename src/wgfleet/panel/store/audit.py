"""The audit log's rows. They are added, read, and deleted when they are old; never changed."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import AuditEntry

COUNTED = 10_000  # to count all of a year's would take as long as to read them


def add(tx: Tx, entry: AuditEntry) -> None:
    """Add an entry."""
    tx.session.add(entry)


def page(
    tx: Tx,
    filters: dict[str, str],
    limit: int,
    offset: int,
    before: int | None = None,
    *,
    since: float | None = None,
    until: float | None = None,
) -> tuple[Sequence[AuditEntry], int]:
    """Return the newest entries whose columns equal `filters`, older than number `before`; and how many match.

    `since`, `until`: only those made from a time on, or before one.
    """
    where = [getattr(AuditEntry, column) == value for column, value in filters.items()]
    where += [] if since is None else [AuditEntry.id >= _first_from(tx, since)]
    where += [] if until is None else [AuditEntry.id < _first_from(tx, until)]
    return newest(tx, where, limit, offset, before)


def _first_from(tx: Tx, at: float) -> int:
    """Return a number below which all entries were made before a time, and none from there on.

    Entries are in the order of their times, which have no index: they are looked for by halves.
    """
    low, high = tx.session.execute(select(func.min(AuditEntry.id), func.max(AuditEntry.id))).one()
    if low is None:
        return 0
    high += 1
    while low < high:
        middle = (low + high) // 2
        newest_below = select(AuditEntry.at).where(AuditEntry.id <= middle).order_by(AuditEntry.id.desc()).limit(1)
        if (tx.session.scalar(newest_below) or 0.0) >= at:
            high = middle
        else:
            low = middle + 1
    return int(low)


def newest(
    tx: Tx, where: list[Any], limit: int, offset: int, before: int | None = None
) -> tuple[Sequence[AuditEntry], int]:
    """Return the newest entries that match, older than number `before`; and how many match, up to `COUNTED`."""
    counted = select(AuditEntry.id).where(*where).limit(COUNTED).subquery()
    total = tx.session.scalar(select(func.count()).select_from(counted)) or 0
    older = where if before is None else [*where, AuditEntry.id < before]
    query = select(AuditEntry).where(*older).order_by(AuditEntry.id.desc()).limit(limit).offset(offset)
    return tx.session.scalars(query).all(), total


def last(tx: Tx, action: str) -> AuditEntry | None:
    """Return the newest entry with an action."""
    query = select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id.desc()).limit(1)
    return tx.session.scalars(query).first()


def beyond(tx: Tx, most: int) -> int | None:
    """Return the number of the newest entry that is not among the `most` newest; None: there are no more than those."""
    lowest = tx.session.scalar(select(func.min(AuditEntry.id)))
    highest = tx.session.scalar(select(func.max(AuditEntry.id)))
    if lowest is None or highest is None or highest - lowest < most:
        return None  # without counting: numbers have gaps, but no two entries have one
    return tx.session.scalar(select(AuditEntry.id).order_by(AuditEntry.id.desc()).offset(most).limit(1))


def forget_up_to(tx: Tx, number: int, limit: int) -> tuple[int, float]:
    """Delete the `limit` oldest entries up to a number; return how many, and when the last of them was made."""
    query = select(AuditEntry.id, AuditEntry.at).where(AuditEntry.id <= number).order_by(AuditEntry.id).limit(limit)
    oldest = tx.session.execute(query).all()
    if oldest:
        tx.session.execute(delete(AuditEntry).where(AuditEntry.id <= oldest[-1].id))
    return len(oldest), max((entry.at for entry in oldest), default=0.0)


def forget(tx: Tx, before: float, limit: int) -> int:
    """Delete those of the `limit` oldest entries that are from before a time; return how many.

    They are looked at by their number, which needs no index of times.
    """
    oldest = tx.session.execute(select(AuditEntry.id, AuditEntry.at).order_by(AuditEntry.id).limit(limit))
    gone = [number for number, at in oldest if at < before]
    if gone:
        tx.session.execute(delete(AuditEntry).where(AuditEntry.id.in_(gone)))
    return len(gone)
