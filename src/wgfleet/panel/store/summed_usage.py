"""Usage added up over the peers of each config at each node, kept ready beside the rows of usage that it is the sum of.

What changes those rows is said here in the same transaction, so the sums are right at each moment.
"""

from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy import ColumnElement, Subquery, Table, delete, select, union_all

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import upsert_many
from wgfleet.panel.store.tables import SummedDay, SummedHour, UsageDay

Rows = Iterable[Any]
"""(hour or day, config id, node id, received, sent); there may be several of one place and time."""

Where = tuple[int, str, str]


def add(tx: Tx, hours: Rows) -> None:
    """Add to hours, and to the days that they are in."""
    of_hours = _together(hours, 1)
    _change(tx, SummedHour, of_hours)
    _change(tx, SummedDay, _together(((hour // 24, *rest) for hour, *rest in _rows(of_hours)), 1))


def take_hours(tx: Tx, hours: Rows) -> None:
    """Take off hours what has become part of a day, or is gone."""
    less = _together(hours, -1)
    _change(tx, SummedHour, less)
    _sweep(tx, SummedHour, SummedHour.hour, {hour for hour, _, _ in less})


def take_days(tx: Tx, days: Rows) -> None:
    """Take off days what is gone."""
    less = _together(days, -1)
    _change(tx, SummedDay, less)
    _sweep(tx, SummedDay, SummedDay.day, {day for day, _, _ in less})


def _together(rows: Rows, sign: int) -> dict[Where, tuple[int, int]]:
    found: dict[Where, tuple[int, int]] = {}
    for period, config_id, node_id, received, sent in rows:
        so_far = found.get((period, config_id, node_id), (0, 0))
        found[period, config_id, node_id] = (so_far[0] + sign * received, so_far[1] + sign * sent)
    return found


def _rows(changes: dict[Where, tuple[int, int]]) -> list[tuple[int, str, str, int, int]]:
    """Return rows in one order, for two transactions that change the same ones."""
    return [(*where, *value) for where, value in sorted(changes.items())]


def _change(tx: Tx, kind: type[SummedHour | SummedDay], changes: dict[Where, tuple[int, int]]) -> None:
    table = cast("Table", kind.__table__)
    key = tuple(column.name for column in table.primary_key)
    more = {name: f"{table.name}.{name} + excluded.{name}" for name in ("received", "sent")}
    upsert_many(tx, table, (*key, "received", "sent"), _rows(changes), key, more)


def _sweep(tx: Tx, kind: type[SummedHour | SummedDay], period: ColumnElement[int] | Any, periods: set[int]) -> None:
    """Delete what is the sum of nothing any more."""
    gone = delete(kind).where(period.in_(periods), kind.received == 0, kind.sent == 0)
    tx.session.execute(gone, execution_options={"synchronize_session": False})


def of_hours(tx: Tx, since: int, until: int) -> Subquery:
    """Return sums (hour, config_id, node_id, received, sent) from an hour up to another, as rows to be added up.

    Some are below zero. What is known by the day only counts to the first hour of it.
    """
    first, last = _days(since, until)
    parts = [_hours(since, until)]
    of_days = select(UsageDay.day).where(UsageDay.day >= first // 24, UsageDay.day < last // 24).limit(1)
    if tx.session.scalar(of_days) is not None:
        day = SummedHour.hour - SummedHour.hour % 24
        parts += [_of_days(first, last), _hours(first, last, sign=-1, hour=day)]
    return union_all(*parts).subquery()


def of_days(since: int, until: int) -> Subquery:
    """Return the same where hours of one day need not be told apart: many fewer rows."""
    first, last = _days(since, until)
    parts = []
    if since < min(first, until):
        parts.append(_hours(since, min(first, until)))
    if first < last:
        parts.append(_of_days(first, last))
    if max(first, until) < last:
        parts.append(_hours(max(first, until), last, sign=-1))
    return union_all(*parts or [_hours(0, 0)]).subquery()


def _days(since: int, until: int) -> tuple[int, int]:
    """Return the first hours of the first day that begins in a time, and of the first one that begins after it."""
    return -(-since // 24) * 24, -(-until // 24) * 24


def _hours(since: int, until: int, *, sign: int = 1, hour: Any = SummedHour.hour) -> Any:
    columns = (SummedHour.config_id, SummedHour.node_id, SummedHour.received * sign, SummedHour.sent * sign)
    found = select(hour.label("hour"), *columns[:2], columns[2].label("received"), columns[3].label("sent"))
    return found.where(SummedHour.hour >= since, SummedHour.hour < until)


def _of_days(first: int, last: int) -> Any:
    columns = (SummedDay.config_id, SummedDay.node_id, SummedDay.received, SummedDay.sent)
    return select((SummedDay.day * 24).label("hour"), *columns).where(
        SummedDay.day >= first // 24, SummedDay.day < last // 24
    )
