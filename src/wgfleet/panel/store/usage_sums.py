"""Sums of usage as they are asked for: by peer, node or config, for each hour, day or month, a page at a time."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Subquery, and_, cast, func, literal, or_, select, union_all
from sqlalchemy import String as Text

from wgfleet.panel.store import shown_peers, summed_usage
from wgfleet.panel.store.among import among
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import (
    Config,
    FormerKey,
    Node,
    Peer,
    SummedDay,
    SummedHour,
    UsageCounter,
    UsageDay,
    UsageHour,
    UsageSource,
    UsageTotal,
)


class Per(StrEnum):
    """The length of a period."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


FORMS = {Per.HOUR: "%Y-%m-%dT%H", Per.DAY: "%Y-%m-%d", Per.MONTH: "%Y-%m"}
"""How a period is written."""
PEERS_AT_ONCE = 500  # added up by a statement; a page of few would ask for few of many who used nothing


class By(StrEnum):
    """Whose usage is put together."""

    PEER = "peer"
    NODE = "node"
    CONFIG = "config"


class Total(NamedTuple):
    """What a peer used since it was made."""

    received: int
    sent: int
    first_at: float
    last_at: float


class Sum(NamedTuple):
    """A sum: `period` sorts by time, and is "" where there is only one."""

    period: str
    id: str
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class UsageQuestion:
    """What is asked. Hours are since the epoch, `until` not among them; ids None: all. `configs`: only of these.

    `ever`: whatever its hour, also what has none, as the opening balance of an imported peer.
    """

    per: Per
    by: By
    since: int
    until: int
    peer_id: str | None = None
    node_id: str | None = None
    config_id: str | None = None
    configs: frozenset[str] | None = None
    ever: bool = False


def sums(tx: Tx, asked: UsageQuestion, after: tuple[str, str] | None, limit: int) -> list[Sum]:
    """Return up to `limit` sums in the order of period and id, after those two."""
    if asked.by is not By.PEER and asked.peer_id is None:
        return _added(tx, asked, _of_all(tx, asked), after, limit)
    if asked.ever and asked.per is Per.TOTAL and asked.by is By.PEER and asked.node_id is None:
        return _ever(tx, asked, "" if after is None else after[1], limit)
    if asked.peer_id is not None:
        return _added(tx, asked, _of_peers(asked), after, limit)
    if asked.per is Per.TOTAL:
        return _by_peers(tx, asked, after, limit)
    return _by_periods(tx, asked, after, limit)


def _by_peers(tx: Tx, asked: UsageQuestion, after: tuple[str, str] | None, limit: int) -> list[Sum]:
    """Return sums of one period, adding up some peers at a time."""
    found: list[Sum] = []
    last = "" if after is None else after[1]
    while len(found) < limit and (ids := _next_peers(tx, asked, last, max(limit, PEERS_AT_ONCE))):
        for chunk in chunked(ids):
            found += _added(tx, asked, _of_peers(asked, chunk), None, limit - len(found))
            if len(found) == limit:
                break
        last = ids[-1]
    return found


def _by_periods(tx: Tx, asked: UsageQuestion, after: tuple[str, str] | None, limit: int) -> list[Sum]:
    """Return sums of a period after the other, so that a page costs what its periods hold, not all that was asked for.

    In which there was something is known from the sums of all peers.
    """
    found: list[Sum] = []
    since = asked.since
    if after is not None:
        since = max(since, _hour_of(asked.per, after[0]))
    while len(found) < limit and (hour := _next_used(tx, asked, since)) is not None:
        begin, end = _bounds(asked.per, hour)
        one = replace(asked, since=max(begin, asked.since), until=min(end, asked.until))
        here = after if after is not None and _hour_of(asked.per, after[0]) == begin else None
        if asked.per is Per.MONTH:
            found += _by_peers(tx, one, here, limit - len(found))
        else:
            found += _added(tx, one, _of_peers(one), here, limit - len(found))
        since = end
    return found


def _next_used(tx: Tx, asked: UsageQuestion, since: int) -> int | None:
    """Return the first hour from one on in which peers may have used something; of a day as one figure, its first."""
    day = _only(select(func.min(SummedDay.day)), asked, SummedDay)
    # The day that an hour is in has a sum, too; it may be of earlier hours alone.
    first = tx.connection.scalar(day.where(SummedDay.day >= since // 24, SummedDay.day * 24 < asked.until))
    if first is None:
        return None
    at = max(since, int(first) * 24)
    if at >= asked.until:
        return None
    if asked.per is not Per.HOUR or at == first * 24:
        return at
    hours = _only(select(func.min(SummedHour.hour)), asked, SummedHour)
    hour = tx.connection.scalar(hours.where(SummedHour.hour >= at, SummedHour.hour < min(asked.until, first * 24 + 24)))
    return int(hour) if hour is not None else _next_used(tx, asked, first * 24 + 24)


def _hour_of(per: Per, period: str) -> int:
    """Return the hour that a period begins with; the first of all where it is no period."""
    try:
        return int(datetime.strptime(period, FORMS[per]).replace(tzinfo=UTC).timestamp()) // 3600
    except ValueError:
        return 0


def _bounds(per: Per, hour: int) -> tuple[int, int]:
    """Return the first hour of the period that an hour is in, and that of the next one."""
    if per is Per.HOUR:
        return hour, hour + 1
    if per is Per.DAY:
        return hour // 24 * 24, hour // 24 * 24 + 24
    month = datetime.fromtimestamp(hour * 3600, UTC).replace(day=1, hour=0)
    following = (month + timedelta(days=31)).replace(day=1)
    return int(month.timestamp()) // 3600, int(following.timestamp()) // 3600


def _ever(tx: Tx, asked: UsageQuestion, after: str, limit: int) -> list[Sum]:
    """Return the totals of peers, which are kept ready."""
    columns: tuple[Any, ...] = (UsageTotal.peer_id, UsageTotal.received, UsageTotal.sent)
    query = select(*columns)
    query = _only(query.where(UsageTotal.peer_id > after, UsageTotal.bytes > 0), asked, UsageTotal)
    if asked.peer_id is not None:
        query = query.where(UsageTotal.peer_id == asked.peer_id)
    return [Sum("", *row) for row in tx.connection.execute(query.order_by(UsageTotal.peer_id).limit(limit))]


def _next_peers(tx: Tx, asked: UsageQuestion, after: str, limit: int) -> list[str]:
    query = select(UsageCounter.peer_id).where(UsageCounter.peer_id > after).distinct()
    return list(tx.session.scalars(_only(query, asked, UsageCounter).order_by(UsageCounter.peer_id).limit(limit)))


def _added(tx: Tx, asked: UsageQuestion, used: Subquery, after: tuple[str, str] | None, limit: int) -> list[Sum]:
    what = used.c[{By.PEER: "peer_id", By.NODE: "node_id", By.CONFIG: "config_id"}[asked.by]]
    period = _period(tx, asked.per, used.c.hour)
    # PostgreSQL sorts by no constant; hours sort as their names do, which are not made for each row then.
    order = {Per.TOTAL: [what], Per.HOUR: [used.c.hour, what]}.get(asked.per, [period, what])
    received, sent = func.sum(used.c.received), func.sum(used.c.sent)
    query = _only(select(period, what, received, sent), asked, used.c).group_by(*order).order_by(*order).limit(limit)
    query = query.having(received + sent > 0)
    if after is not None:
        query = query.where(or_(period > after[0], and_(period == after[0], what > after[1])))
    # A sum of BIGINT is a decimal number on PostgreSQL.
    return [Sum(row[0], row[1], int(row[2]), int(row[3])) for row in tx.connection.execute(query)]


def _only(query: Select[Any], asked: UsageQuestion, columns: Any) -> Select[Any]:
    """Return a query of what was asked for; `columns`: where the ids are."""
    if asked.node_id is not None:
        query = query.where(columns.node_id == asked.node_id)
    if asked.config_id is not None:
        query = query.where(columns.config_id == asked.config_id)
    if asked.configs is not None:
        query = query.where(columns.config_id.in_(asked.configs))
    return query


def _of_all(tx: Tx, asked: UsageQuestion) -> Subquery:
    """Return what was used over all peers, from sums that are kept ready."""
    if asked.per is Per.HOUR:
        return summed_usage.of_hours(tx, asked.since, asked.until)
    return summed_usage.of_days(asked.since, asked.until)


def _of_peers(asked: UsageQuestion, ids: Collection[str] = ()) -> Subquery:
    places = (UsageCounter.peer_id, UsageCounter.config_id, UsageCounter.node_id)
    hours = select(UsageHour.hour, *places, UsageHour.received, UsageHour.sent).join(UsageCounter)
    days = select((UsageDay.day * 24).label("hour"), *places, UsageDay.received, UsageDay.sent).join(UsageCounter)
    if asked.peer_id is not None:
        ids = [asked.peer_id]
    if ids:
        hours, days = (each.where(UsageCounter.peer_id.in_(ids)) for each in (hours, days))
    return union_all(
        hours.where(UsageHour.hour >= asked.since, UsageHour.hour < asked.until),
        # Days that begin within it. The column is compared as it is, so that its index counts.
        days.where(UsageDay.day >= -(-asked.since // 24), UsageDay.day < -(-asked.until // 24)),
    ).subquery()


def _period(tx: Tx, per: Per, hour: ColumnElement[int]) -> ColumnElement[Any]:
    if per is Per.TOTAL:
        return literal("", literal_execute=True)
    form = {
        Per.HOUR: ("%Y-%m-%dT%H", 'YYYY-MM-DD"T"HH24'),
        Per.DAY: ("%Y-%m-%d", "YYYY-MM-DD"),
        Per.MONTH: ("%Y-%m", "YYYY-MM"),
    }
    sqlite, postgresql = form[per]
    if tx.connection.dialect.name == "sqlite":
        return func.strftime(
            literal(sqlite, literal_execute=True), hour * 3600, literal("unixepoch", literal_execute=True)
        )
    at = func.timezone(literal("UTC", literal_execute=True), func.to_timestamp(hour * 3600))
    # As other databases compare it, not by the rules of a language.
    return cast(func.to_char(at, literal(postgresql, literal_execute=True)), Text(collation="C"))


# Of columns, and made once: each list of peers asks for it.
_TOTALS = select(
    UsageTotal.peer_id, UsageTotal.received, UsageTotal.sent, UsageTotal.first_at, UsageTotal.last_at
).where(among(UsageTotal.peer_id, "ids"))


def totals(tx: Tx, peer_ids: Collection[str]) -> dict[str, Total]:
    """Return what peers used since they were made, by id; those that never used anything are left out."""
    return {
        row[0]: Total(*row[1:]) for chunk in chunked(peer_ids) for row in tx.connection.execute(_TOTALS, {"ids": chunk})
    }


def by_traffic(tx: Tx, config_id: str, after: tuple[int, str] | None, limit: int) -> list[tuple[int, ShownPeer]]:
    """Return up to `limit` peers of a config, most traffic first, with their bytes, after the last one (bytes, id)."""
    ids: list[tuple[int, str]] = []
    if after is None or after[0]:
        query = select(UsageTotal.bytes, UsageTotal.peer_id).where(
            UsageTotal.config_id == config_id, UsageTotal.bytes > 0
        )
        if after is not None:
            mine = and_(UsageTotal.bytes == after[0], UsageTotal.peer_id < after[1])
            query = query.where(UsageTotal.bytes <= after[0], or_(UsageTotal.bytes < after[0], mine))
        query = query.join(Peer, Peer.id == UsageTotal.peer_id)
        found = query.order_by(UsageTotal.bytes.desc(), UsageTotal.peer_id.desc()).limit(limit)
        ids = [(count, peer_id) for count, peer_id in tx.connection.execute(found)]
    if len(ids) < limit:
        never = select(Peer.id).where(
            Peer.config_id == config_id,
            Peer.id > (after[1] if after is not None and not after[0] else ""),
            Peer.id.not_in(select(UsageTotal.peer_id).where(UsageTotal.config_id == config_id, UsageTotal.bytes > 0)),
        )
        left = never.order_by(Peer.id).limit(limit - len(ids))
        ids += [(0, peer_id) for (peer_id,) in tx.connection.execute(left)]
    rows = {peer.id: peer for peer in shown_peers.by_ids(tx, [peer_id for _, peer_id in ids])}
    return [(count, rows[peer_id]) for count, peer_id in ids if peer_id in rows]


def names(tx: Tx, by: By, ids: Collection[str]) -> dict[str, str]:
    """Return what is called by the ids, also what was deleted; a deleted config has the name that it had then."""
    there: Any = {By.PEER: (Peer.id, Peer.name), By.NODE: (Node.id, Node.name), By.CONFIG: (Config.id, Config.name)}[by]
    gone: Any = {
        By.PEER: (FormerKey.peer_id, FormerKey.peer_name),
        By.NODE: (UsageSource.node_id, UsageSource.name),
        By.CONFIG: (FormerKey.config_id, FormerKey.config_name),
    }[by]
    found: dict[str, str] = {}
    for chunk in chunked(ids):
        for identifier, name in (gone, there):
            query = select(identifier, name).where(identifier.in_(chunk)).distinct()
            found |= {row[0]: row[1] for row in tx.connection.execute(query)}
    return found
