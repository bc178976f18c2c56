"""Rows of usage as batches of nodes change them: counters, hours, totals, sources."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, bindparam, delete, exists, func, insert, literal, select, update
from sqlalchemy.orm import InstrumentedAttribute

from wgfleet.panel.store import node_traffic, summed_usage
from wgfleet.panel.store.among import among
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import insert_many, upsert_many
from wgfleet.panel.store.tables import (
    Config,
    EntrustedNode,
    FormerKey,
    Node,
    Peer,
    UsageCounter,
    UsageDay,
    UsageHour,
    UsageSource,
    UsageTotal,
)

_COUNTER = ("id", "node_id", "config_id", "public_key", "peer_id", "life", "claimed_received", "claimed_sent", "former")


class CounterRow(NamedTuple):
    """A counter, by its columns."""

    id: int
    node_id: str
    config_id: str
    public_key: str
    peer_id: str
    life: int
    claimed_received: int
    claimed_sent: int
    former: bool


class HourUse(NamedTuple):
    """What a batch adds to an hour of a counter, and whose that is."""

    config_id: str
    node_id: str
    received: int
    sent: int


class PeerUse(NamedTuple):
    """What a batch adds to a peer's totals."""

    config_id: str
    received: int
    sent: int


class SourceRow(NamedTuple):
    """What is known of a node that was counted on, as in `UsageSource`."""

    node_id: str
    name: str
    epoch: str
    sequence: int
    at: float
    refused_bytes: int


# Statements made once: they are asked several times a second.
_SOURCES = select(*(getattr(UsageSource, name) for name in SourceRow._fields)).where(among(UsageSource.node_id, "ids"))
_NODES = select(Node.id, Node.name, Node.created_at, Node.bandwidth_mbps).where(among(Node.id, "ids"))
_ENTRUSTED = select(EntrustedNode.node_id, EntrustedNode.config_id).where(among(EntrustedNode.node_id, "ids"))
_GENERATIONS = select(Config.id, Config.generation).where(among(Config.id, "ids"))
_LAST = select(func.max(UsageCounter.id))


def sources(tx: Tx, node_ids: Collection[str]) -> dict[str, SourceRow]:
    """Return what is known of nodes that were counted on, by node id."""
    return {row[0]: SourceRow(*row) for row in tx.connection.execute(_SOURCES, {"ids": list(node_ids)})}


def nodes(tx: Tx, node_ids: Collection[str]) -> dict[str, tuple[str, float, int | None]]:
    """Return the name of each node that there is, when it was made, and what its uplink carries in Mbit/s."""
    tx.settle()
    rows = tx.connection.execute(_NODES, {"ids": list(node_ids)})
    return {node_id: (name, at, mbps) for node_id, name, at, mbps in rows}


def entrusted(tx: Tx, node_ids: Collection[str]) -> set[tuple[str, str]]:
    """Return which configs nodes have, or had, the keys of, as (node id, config id)."""
    rows = tx.connection.execute(_ENTRUSTED, {"ids": list(node_ids)})
    return {(node_id, config_id) for node_id, config_id in rows}


def basis(tx: Tx, node_ids: Collection[str], config_ids: Collection[str]) -> object:
    """Return what is another one where nodes come or go, or were counted on, or anything in configs changes."""
    tx.settle()
    generations = sorted(map(tuple, tx.connection.execute(_GENERATIONS, {"ids": list(config_ids)})))
    known = sources(tx, node_ids)
    counted = sorted((node_id, known.get(node_id)) for node_id in nodes(tx, node_ids))
    return generations, counted, tx.connection.scalar(_LAST)


def counters(tx: Tx, node_id: str, config_id: str, keys: Collection[str]) -> dict[str, CounterRow]:
    """Return the newest counter of each public key at a node."""
    place = {"node_id": node_id, "config_id": config_id}
    return {
        row[3]: CounterRow._make(row)
        for chunk in chunked(keys)
        for row in tx.connection.execute(_COUNTERS, place | {"ids": chunk}).all()  # one by one takes twice as long
    }


_COUNTERS = (
    select(*(getattr(UsageCounter, name) for name in _COUNTER))
    .where(UsageCounter.node_id == bindparam("node_id"), UsageCounter.config_id == bindparam("config_id"))
    .where(among(UsageCounter.public_key, "ids"))
    .order_by(UsageCounter.id)
)


def owners(tx: Tx, config_id: str, keys: Collection[str]) -> dict[str, tuple[str, bool]]:
    """Return the peer that has each public key, or had it (True)."""
    found: dict[str, tuple[str, bool]] = {}
    for chunk in chunked(keys):
        for query, former in ((_FORMER, True), (_PRESENT, False)):
            rows = tx.connection.execute(query, {"config_id": config_id, "ids": chunk}).all()
            found |= {key: (peer_id, former) for key, peer_id in rows}
    return found


_FORMER, _PRESENT = (
    select(kind.public_key, peer_id).where(kind.config_id == bindparam("config_id"), among(kind.public_key, "ids"))
    for kind, peer_id in ((FormerKey, FormerKey.peer_id), (Peer, Peer.id))
)


def next_counter(tx: Tx) -> int:
    """Return the first number that no counter has."""
    return (tx.connection.scalar(_LAST) or 0) + 1


def add_counters(tx: Tx, rows: Sequence[CounterRow]) -> None:
    """Insert counters."""
    insert_many(tx, _table(UsageCounter), _COUNTER, rows)


def claim(tx: Tx, rows: Sequence[CounterRow]) -> None:
    """Write the last totals of counters that there are."""
    kept = ("life", "claimed_received", "claimed_sent")
    upsert_many(tx, _table(UsageCounter), _COUNTER, rows, ("id",), {name: f"excluded.{name}" for name in kept})


def add_hours(tx: Tx, used: Mapping[tuple[int, int], HourUse]) -> None:
    """Add to hours, by (counter's number, hour), and to the sums of their configs and nodes."""
    node_traffic.add(tx, used.values())
    _add(tx, UsageHour, "hour", {key: (each.received, each.sent) for key, each in used.items()})
    summed_usage.add(tx, ((hour, *each) for (_, hour), each in used.items()))


def _add(tx: Tx, kind: type[UsageHour | UsageDay], name: str, used: Mapping[tuple[int, int], tuple[int, int]]) -> None:
    rows = [(*key, *value) for key, value in used.items()]
    table = _table(kind)
    more = {each: f"{table.name}.{each} + excluded.{each}" for each in ("received", "sent")}
    upsert_many(tx, table, ("counter_id", name, "received", "sent"), rows, ("counter_id", name), more)


def add_totals(tx: Tx, used: Mapping[str, PeerUse], at: float) -> None:
    """Add to the totals of peers, by peer id; `at`: when they used it."""
    rows = [
        (peer_id, each.config_id, each.received, each.sent, each.received + each.sent, at, at)
        for peer_id, each in used.items()
    ]
    columns = ("peer_id", "config_id", "received", "sent", "bytes", "first_at", "last_at")
    more = {name: f"usage_totals.{name} + excluded.{name}" for name in ("received", "sent", "bytes")}
    more["last_at"] = "excluded.last_at"
    upsert_many(tx, _table(UsageTotal), columns, rows, ("peer_id",), more)


def counted(tx: Tx, rows: Sequence[SourceRow]) -> None:
    """Note the last batch of nodes, each once."""
    kept = {name: f"excluded.{name}" for name in SourceRow._fields[1:]}
    upsert_many(tx, _table(UsageSource), SourceRow._fields, rows, ("node_id",), kept)


def leave(tx: Tx, config_id: str, keys: Mapping[str, tuple[str, str]], at: float) -> None:
    """Note that public keys leave a config: each with the id and the name of the peer that had it."""
    config_name = tx.session.scalar(select(Config.name).where(Config.id == config_id)) or ""
    columns = ("config_id", "public_key", "peer_id", "peer_name", "config_name", "at")
    rows = [(config_id, key, peer_id, name, config_name, at) for key, (peer_id, name) in keys.items()]
    fresh = {name: f"excluded.{name}" for name in columns[2:]}
    upsert_many(tx, _table(FormerKey), columns, rows, columns[:2], fresh)
    for chunk in chunked(keys):
        of_keys = (UsageCounter.config_id == config_id, UsageCounter.public_key.in_(chunk))
        peers = UsageCounter.peer_id.in_({keys[key][0] for key in chunk})
        tx.session.execute(
            update(UsageCounter).where(*of_keys, peers).values(former=True),
            execution_options={"synchronize_session": False},
        )


def leave_all(tx: Tx, config_id: str, at: float) -> None:
    """Note that all public keys of a config leave it: it is about to be deleted."""
    columns = ["config_id", "public_key", "peer_id", "peer_name", "config_name", "at"]
    name = select(Config.name).where(Config.id == config_id).scalar_subquery()
    keys = select(Peer.config_id, Peer.public_key, Peer.id, Peer.name, name, literal(at)).where(
        Peer.config_id == config_id
    )
    # A key that left before is that of another peer by now.
    mine = select(Peer.public_key).where(Peer.config_id == config_id)
    options = {"synchronize_session": False}
    tx.session.execute(
        delete(FormerKey).where(FormerKey.config_id == config_id, FormerKey.public_key.in_(mine)),
        execution_options=options,
    )
    tx.session.execute(insert(FormerKey).from_select(columns, keys))
    tx.session.execute(
        update(UsageCounter).where(UsageCounter.config_id == config_id).values(former=True), execution_options=options
    )


def roll_up(tx: Tx, before: float, limit: int) -> int:
    """Put hours from before a time together to days; return how many. `limit`: at most."""
    query = select(UsageHour.counter_id, *_of_places(UsageHour, UsageHour.hour)).join(UsageCounter)
    rows = tx.connection.execute(
        query.where(UsageHour.hour < int(before // 3600)).order_by(UsageHour.hour, UsageHour.counter_id).limit(limit)
    ).all()
    days: dict[tuple[int, int], tuple[int, int]] = {}
    of_hour: dict[int, list[int]] = {}
    for counter_id, hour, _, _, received, sent in rows:
        so_far = days.get((counter_id, hour // 24), (0, 0))
        days[counter_id, hour // 24] = (so_far[0] + received, so_far[1] + sent)
        of_hour.setdefault(hour, []).append(counter_id)
    _add(tx, UsageDay, "day", days)
    for hour, ids in of_hour.items():
        gone = delete(UsageHour).where(UsageHour.hour == hour, UsageHour.counter_id.in_(ids))
        tx.session.execute(gone, execution_options={"synchronize_session": False})
    summed_usage.take_hours(tx, (row[1:] for row in rows))
    return len(rows)


def forget(tx: Tx, before: float, limit: int) -> int:
    """Delete days from before a time, then what is known of keys and nodes that left before it."""
    day = int(before // 86400)
    old = select(UsageDay.counter_id, *_of_places(UsageDay, UsageDay.day)).join(UsageCounter)
    rows = tx.connection.execute(old.where(UsageDay.day < day).order_by(UsageDay.day).limit(limit)).all()
    summed_usage.take_days(tx, (row[1:] for row in rows))
    of_day: dict[int, list[int]] = {}
    for row in rows:
        of_day.setdefault(row[1], []).append(row[0])
    options = {"synchronize_session": False}
    for each, ids in of_day.items():
        gone = delete(UsageDay).where(UsageDay.day == each, UsageDay.counter_id.in_(ids))
        tx.session.execute(gone, execution_options=options)
    count = sum(map(len, of_day.values()))
    if count == limit:
        return count
    left = limit - count
    keys = select(FormerKey).where(FormerKey.at < before).order_by(FormerKey.at).limit(left)
    found = list(tx.session.scalars(keys))
    for key in found:
        _forget_counters(tx, key)
        tx.session.delete(key)
    tx.session.flush()
    _forget_totals(tx, {row.peer_id for row in found})
    silent = select(UsageSource.node_id).where(UsageSource.at < before, UsageSource.node_id.not_in(select(Node.id)))
    tx.session.execute(delete(UsageSource).where(UsageSource.node_id.in_(silent)), execution_options=options)
    return count + len(found)


def _forget_counters(tx: Tx, key: FormerKey) -> None:
    """Delete the counters of a key that left, with all that they counted; not those of a peer that has it again."""
    mine = (UsageCounter.config_id == key.config_id, UsageCounter.public_key == key.public_key)
    back = exists().where(Peer.id == key.peer_id, Peer.config_id == key.config_id, Peer.public_key == key.public_key)
    gone = (*mine, UsageCounter.peer_id == key.peer_id, UsageCounter.former, ~back)
    hours = tx.connection.execute(select(*_of_places(UsageHour, UsageHour.hour)).join(UsageCounter).where(*gone)).all()
    days = tx.connection.execute(select(*_of_places(UsageDay, UsageDay.day)).join(UsageCounter).where(*gone)).all()
    summed_usage.take_hours(tx, hours)
    summed_usage.take_days(tx, [(hour // 24, *rest) for hour, *rest in hours])
    summed_usage.take_days(tx, days)
    tx.session.execute(delete(UsageCounter).where(*gone), execution_options={"synchronize_session": False})


def _of_places(kind: type[UsageHour | UsageDay], period: InstrumentedAttribute[int]) -> tuple[Any, ...]:
    """Return the columns that sums are made of, for a query that joins the counters."""
    return period, UsageCounter.config_id, UsageCounter.node_id, kind.received, kind.sent


def drop_totals(tx: Tx, peer_ids: Collection[str]) -> None:
    """Delete the totals of peers."""
    for chunk in chunked(peer_ids):
        gone = delete(UsageTotal).where(UsageTotal.peer_id.in_(chunk))
        tx.session.execute(gone, execution_options={"synchronize_session": False})


def _forget_totals(tx: Tx, peer_ids: Collection[str]) -> None:
    """Delete the totals of peers that are gone, with all their keys."""
    for chunk in chunked(peer_ids):
        gone = delete(UsageTotal).where(
            UsageTotal.peer_id.in_(chunk),
            UsageTotal.peer_id.not_in(select(Peer.id).where(Peer.id.in_(chunk))),
            UsageTotal.peer_id.not_in(select(FormerKey.peer_id).where(FormerKey.peer_id.in_(chunk))),
        )
        tx.session.execute(gone, execution_options={"synchronize_session": False})


def _table(kind: type[Any]) -> Table:
    return cast("Table", kind.__table__)
