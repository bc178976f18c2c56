"""Rows of jobs, and of the peers that they are about: what those used, in all and since some moment."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, cast

from sqlalchemy import CompoundSelect, Table, delete, func, select, union_all, update

from wgfleet.panel.domain.jobs.job import JobField
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import upsert_many
from wgfleet.panel.store.tables import (
    LimitJob,
    Peer,
    PeerAllowance,
    PeerTag,
    Tag,
    UsageCounter,
    UsageDay,
    UsageHour,
    UsageTotal,
)

DAY_HOURS = 24


class LimitedPeer(NamedTuple):
    """A peer that jobs are about, or that is restricted. `base_received`, `base_sent`: what no longer counts."""

    id: str
    config_id: str
    name: str
    public_key: str
    enabled: bool
    has_networks: bool
    restricted_at: float | None
    restricted_because: str | None
    received: int
    sent: int
    first_at: float | None
    base_received: int
    base_sent: int
    reset_at: float | None
    noticed: str | None
    home_node_id: str | None
    devices: int | None
    shared_at: float | None


_COLUMNS = (
    *(Peer.id, Peer.config_id, Peer.name, Peer.public_key, Peer.enabled, func.json_array_length(Peer.networks) > 0),
    *(Peer.restricted_at, Peer.restricted_because),
    *(func.coalesce(UsageTotal.received, 0), func.coalesce(UsageTotal.sent, 0), UsageTotal.first_at),
    *(func.coalesce(PeerAllowance.base_received, 0), func.coalesce(PeerAllowance.base_sent, 0)),
    *(PeerAllowance.reset_at, PeerAllowance.noticed, Peer.home_node_id),
    *(PeerAllowance.devices, PeerAllowance.shared_at),
)


def add(tx: Tx, job: LimitJob, *, flush: bool = True) -> None:
    """Add a job; of many, have the next statement write them together."""
    tx.session.add(job)
    if flush:
        tx.session.flush()


def find(tx: Tx, job_id: str) -> LimitJob | None:
    """Return a job, or None."""
    return tx.session.get(LimitJob, job_id)


def delete_job(tx: Tx, job: LimitJob) -> None:
    """Delete a job."""
    tx.session.delete(job)
    tx.session.flush()


def delete_of_field(tx: Tx, peer_ids: Collection[str], field: JobField) -> None:
    """Delete the own jobs of peers that look at a field."""
    for chunk in chunked(peer_ids):
        gone = delete(LimitJob).where(LimitJob.peer_id.in_(chunk), LimitJob.field == field)
        tx.session.execute(gone, execution_options={"synchronize_session": False})


def of_owner(tx: Tx, column: str, owner_id: str) -> list[LimitJob]:
    """Return the jobs of a config (`config_id`), a tag or a peer, in the order they were made."""
    query = select(LimitJob).where(getattr(LimitJob, column) == owner_id).order_by(LimitJob.id)
    return list(tx.session.scalars(query))


def of_peers(tx: Tx, peer_ids: Collection[str]) -> dict[str, list[LimitJob]]:
    """Return the own jobs of peers, by peer id."""
    found: dict[str, list[LimitJob]] = {}
    for chunk in chunked(peer_ids):
        for job in tx.session.scalars(select(LimitJob).where(LimitJob.peer_id.in_(chunk)).order_by(LimitJob.id)):
            found.setdefault(str(job.peer_id), []).append(job)
    return found


def rows(tx: Tx) -> list[LimitJob]:
    """Return all jobs."""
    return list(tx.session.scalars(select(LimitJob).order_by(LimitJob.id)))


def limited(tx: Tx, peer_ids: Collection[str] | None = None) -> list[LimitedPeer]:
    """Return the peers that jobs are about, and those that are restricted; of some peers where they are given."""
    query = (
        select(*_COLUMNS)
        .join_from(Peer, UsageTotal, UsageTotal.peer_id == Peer.id, isouter=True)
        .join(PeerAllowance, PeerAllowance.peer_id == Peer.id, isouter=True)
        .order_by(Peer.id)
    )
    if peer_ids is not None:
        chunks = [query.where(Peer.id.in_(chunk)) for chunk in chunked(peer_ids)]
        return [LimitedPeer._make(row) for each in chunks for row in tx.connection.execute(each).all()]
    configs = select(LimitJob.config_id).where(LimitJob.config_id.is_not(None))
    tags_with = select(LimitJob.tag_id).where(LimitJob.tag_id.is_not(None))
    # One after the other: an index leads to each of them, and none to all.
    ids: CompoundSelect[Any] = union_all(
        select(Peer.id).where(Peer.config_id.in_(configs)),
        select(LimitJob.peer_id).where(LimitJob.peer_id.is_not(None)),
        select(PeerTag.peer_id).where(PeerTag.tag_id.in_(tags_with)),
        select(Peer.id).where(Peer.restricted_at.is_not(None)),
    )
    query = query.where(Peer.id.in_(ids))
    return [LimitedPeer._make(row) for row in tx.connection.execute(query).all()]


def tags(tx: Tx, peer_ids: Collection[str] | None = None) -> dict[str, list[tuple[str, str]]]:
    """Return the tags with jobs of each peer, as (id, name), by name."""
    query = select(PeerTag.peer_id, Tag.id, Tag.name).join(Tag, Tag.id == PeerTag.tag_id)
    query = query.where(Tag.id.in_(select(LimitJob.tag_id))).order_by(Tag.name)
    found: dict[str, list[tuple[str, str]]] = {}
    queries = [query] if peer_ids is None else [query.where(PeerTag.peer_id.in_(each)) for each in chunked(peer_ids)]
    for each in queries:
        for peer_id, tag_id, name in tx.connection.execute(each):
            found.setdefault(peer_id, []).append((tag_id, name))
    return found


def used_since(tx: Tx, peer_ids: Collection[str], hour: int) -> dict[str, tuple[int, int]]:
    """Return what peers used from an hour (of UTC, since the epoch) on; those that used nothing are left out."""
    found: dict[str, tuple[int, int]] = {}
    for chunk in chunked(peer_ids):
        mine = select(UsageCounter.id, UsageCounter.peer_id).where(UsageCounter.peer_id.in_(chunk)).subquery()
        parts = union_all(
            select(mine.c.peer_id, UsageHour.received, UsageHour.sent)
            .join(UsageHour, UsageHour.counter_id == mine.c.id)
            .where(UsageHour.hour >= hour),
            select(mine.c.peer_id, UsageDay.received, UsageDay.sent)
            .join(UsageDay, UsageDay.counter_id == mine.c.id)
            .where(UsageDay.day * DAY_HOURS >= hour),
        ).subquery()
        query = select(parts.c.peer_id, func.sum(parts.c.received), func.sum(parts.c.sent)).group_by(parts.c.peer_id)
        found |= {row[0]: (int(row[1]), int(row[2])) for row in tx.connection.execute(query)}
    return found


def restrict(tx: Tx, because: Mapping[str, str | None], at: float, generation: int | None) -> None:
    """Restrict peers, each for a reason, or (None) let them in again.

    `generation`: at which nodes hear of it; None: only the reasons are others.
    """
    by_reason: dict[str | None, list[str]] = {}
    for peer_id, reason in because.items():
        by_reason.setdefault(reason, []).append(peer_id)
    for reason, peer_ids in by_reason.items():
        values: dict[str, Any] = {"restricted_because": reason}
        if generation is not None:
            values |= {"restricted_at": None if reason is None else at, "generation": generation}
        for chunk in chunked(peer_ids):
            changed = update(Peer).where(Peer.id.in_(chunk)).values(values)
            tx.session.execute(changed.execution_options(synchronize_session=False))


def reset(tx: Tx, rows: Iterable[tuple[str, int, int, float]]) -> None:
    """Note what peers had used when their usage was reset: (peer id, received, sent, when)."""
    columns = ("peer_id", "base_received", "base_sent", "reset_at")
    changes = {name: f"excluded.{name}" for name in columns[1:]}
    upsert_many(tx, _allowances, columns, list(rows), ("peer_id",), changes)


def noticed(tx: Tx, rows: Iterable[tuple[str, str]]) -> None:
    """Note of which expiry notice was given: (peer id, job and date)."""
    columns = ("peer_id", "base_received", "base_sent", "noticed")
    values = [(peer_id, 0, 0, what) for peer_id, what in rows]
    upsert_many(tx, _allowances, columns, values, ("peer_id",), {"noticed": "excluded.noticed"})


def shared(tx: Tx, rows: Iterable[tuple[str, int, float]]) -> None:
    """Note whose file several devices used at once: (peer id, how many, when)."""
    columns = ("peer_id", "base_received", "base_sent", "devices", "shared_at")
    values = [(peer_id, 0, 0, devices, at) for peer_id, devices, at in rows]
    changes = {name: f"excluded.{name}" for name in columns[3:]}
    upsert_many(tx, _allowances, columns, values, ("peer_id",), changes)


_allowances = cast("Table", PeerAllowance.__table__)
