"""The audit log's rows. They are added, read, and deleted when they are old; never changed."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, or_, select, union_all
from sqlalchemy.orm import InstrumentedAttribute

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import AuditEntry

ANY_NUMBER = 2**62
# Of what many kinds of things have, the entries are looked up by the thing: of peers there are far too many.
GENERIC = frozenset({"created", "updated", "deleted"})
COUNTED = 10_000  # to count all of a year's would take as long as to read them


class EntryKind(NamedTuple):
    """What is done to which kind of thing."""

    entity_type: str
    action: str


class AuditSubjects(NamedTuple):
    """What entries are about: (type, id) each, and those of a type whose ids begin with a text."""

    exact: Sequence[tuple[str, str]]
    beginning: Sequence[tuple[str, str]]


class Callers(NamedTuple):
    """Where calls came from: keys of addresses from one to another, and a network that may be around all of them."""

    first: str
    last: str
    around: str = ""
    around_key: str = ""


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
    callers: Callers | None = None,
) -> tuple[Sequence[AuditEntry], int]:
    """Return the newest entries whose columns equal `filters`, older than number `before`; and how many match.

    `since`, `until`: only those made from a time on, or before one; `callers`: only those from there.
    """
    where = [getattr(AuditEntry, column) == value for column, value in filters.items()]
    where += [] if since is None else [AuditEntry.id >= _first_from(tx, since)]
    where += [] if until is None else [AuditEntry.id < _first_from(tx, until)]
    if callers is None:
        return newest(tx, where, limit, offset, before)
    if _counted(tx, [_from(callers, AuditEntry.address_key)]) == COUNTED:
        # The newest of a great many are found sooner by their numbers: an expression is in no index.
        return newest(tx, [*where, _from(callers, AuditEntry.address_key + "")], limit, offset, before)
    where.append(_from(callers, AuditEntry.address_key))
    older = where if before is None else [*where, AuditEntry.id < before]
    # Those of a network have to be sorted. Their numbers are in the index; details are read of those that are shown.
    found = tx.session.scalars(
        select(AuditEntry.id).where(*older).order_by(AuditEntry.id.desc()).limit(limit).offset(offset)
    ).all()
    shown = select(AuditEntry).where(AuditEntry.id.in_(found)).order_by(AuditEntry.id.desc())
    return tx.session.scalars(shown).all(), _counted(tx, where)


def _from(callers: Callers, key: ColumnElement[str | None] | InstrumentedAttribute[str | None]) -> ColumnElement[bool]:
    inside = key == callers.first if callers.first == callers.last else key.between(callers.first, callers.last)
    if not callers.around or callers.first <= callers.around_key <= callers.last:
        return inside
    return or_(inside, and_(key == callers.around_key, AuditEntry.address == callers.around))


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
        found = tx.session.scalar(newest_below) or 0.0
        if datetime.fromtimestamp(found, UTC).timestamp() >= at:  # as it is shown, to 1 µs: rows have it finer
            high = middle
        else:
            low = middle + 1
    return int(low)


def newest(
    tx: Tx, where: list[Any], limit: int, offset: int, before: int | None = None
) -> tuple[Sequence[AuditEntry], int]:
    """Return the newest entries that match, older than number `before`; and how many match, up to `COUNTED`."""
    older = where if before is None else [*where, AuditEntry.id < before]
    query = select(AuditEntry).where(*older).order_by(AuditEntry.id.desc()).limit(limit).offset(offset)
    return tx.session.scalars(query).all(), _counted(tx, where)


def _counted(tx: Tx, where: list[Any]) -> int:
    counted = select(AuditEntry.id).where(*where).limit(COUNTED).subquery()
    return tx.session.scalar(select(func.count()).select_from(counted)) or 0


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


def events(
    tx: Tx, kinds: Collection[EntryKind], about: AuditSubjects | None, limit: int, before: int | None
) -> list[AuditEntry]:
    """Return the newest entries of some kinds, about some things or any, older than number `before`."""
    number: ColumnElement[bool] = AuditEntry.id < bindparam("before")
    if about is None:
        newest_of_each = [
            select(
                select(AuditEntry.id).where(part, number).order_by(AuditEntry.id.desc()).limit(limit).subquery().c.id
            )
            for part in _parts(kinds)
        ]
        found = select(AuditEntry).where(AuditEntry.id.in_(union_all(*newest_of_each)))
    else:
        found = select(AuditEntry).where(_about(about), or_(*_parts(kinds)), number)
    query: Select[AuditEntry] = found.order_by(AuditEntry.id.desc()).limit(limit)
    return list(tx.session.scalars(query, {"before": before or ANY_NUMBER}))


def _parts(kinds: Collection[EntryKind]) -> Iterator[ColumnElement[bool]]:
    """Yield a condition for each part of the kinds that an index leads to."""
    by_action: dict[str, set[str]] = defaultdict(set)
    by_type: dict[str, set[str]] = defaultdict(set)
    for entity_type, action in kinds:
        if action in GENERIC:
            by_type[entity_type].add(action)
        else:
            by_action[action].add(entity_type)
    for action, types in sorted(by_action.items()):
        yield and_(AuditEntry.action == action, AuditEntry.entity_type.in_(sorted(types)))
    for entity_type, actions in sorted(by_type.items()):
        yield and_(AuditEntry.entity_type == entity_type, AuditEntry.action.in_(sorted(actions)))


def _about(about: AuditSubjects) -> ColumnElement[bool]:
    by_type: dict[str, list[str]] = defaultdict(list)
    for entity_type, entity_id in about.exact:
        by_type[entity_type].append(entity_id)
    exact = [
        and_(AuditEntry.entity_type == entity_type, AuditEntry.entity_id.in_(ids))
        for entity_type, ids in by_type.items()
    ]
    # Ids are of ASCII: what begins with a text lies between it and the same with the last of all characters behind.
    beginning = [
        and_(AuditEntry.entity_type == entity_type, AuditEntry.entity_id.between(text, f"{text}\x7f"))
        for entity_type, text in about.beginning
    ]
    return or_(False, *exact, *beginning)


def last_names(tx: Tx, entity_type: str, entity_ids: Collection[str]) -> dict[str, str]:
    """Return the names that things had when they were deleted, by id; of those whose entry is gone, none."""
    query = select(AuditEntry).where(
        AuditEntry.entity_type == entity_type, AuditEntry.entity_id.in_(entity_ids), AuditEntry.action == "deleted"
    )
    return {each.entity_id: str(each.details["name"]) for each in tx.session.scalars(query) if "name" in each.details}


def between(tx: Tx, entity_type: str, entity_id: str, begin: float, end: float, most: int) -> list[AuditEntry]:
    """Return up to `most` entries about one thing from a time to another, the oldest first."""
    query = select(AuditEntry).where(AuditEntry.entity_type == entity_type, AuditEntry.entity_id == entity_id)
    timed = query.where(AuditEntry.at.between(begin, end)).order_by(AuditEntry.id).limit(most)
    return list(tx.session.scalars(timed))
