"""Usage: what nodes say that their peers used, added to the sums exactly once.

A batch counts together with its number: both are written, or neither. What a node says of peers of configs that it
never had the keys of is passed over, and so is what no link could have carried in the time.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from wgfleet.panel.domain import cursors
from wgfleet.panel.domain.fields import may_be_id
from wgfleet.panel.domain.usage import Added, Claimed, added, allowance, claimed, clipped, hours
from wgfleet.panel.store import Tx, node_traffic, usage_sums
from wgfleet.panel.store import usage as usage_rows
from wgfleet.panel.store.node_traffic import Traffic
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.usage import CounterRow, HourUse, PeerUse, SourceRow
from wgfleet.panel.store.usage_sums import FORMS, By, Per, Sum, Total, UsageQuestion
from wgfleet.protocol.usage import UsageBatch, UsageRow

OLDEST_S = 14 * 86400.0  # an hour further back is that far back: agents tell two days apart
MAX_DIGITS = 20  # of a number of bytes that a cursor has
__all__ = ["FORMS", "By", "Per", "Total", "Traffic", "UsageQuestion"]
log = structlog.get_logger()


Acknowledged = tuple[str, int]
"""The epoch and the number of a batch that is in the sums."""

NONE: Acknowledged = ("", 0)


class NodeBatch(NamedTuple):
    """A batch of a node, and which batch the question named as the last: an answer to an older question is late."""

    node_id: str
    batch: UsageBatch
    asked: Acknowledged = NONE


class NamedSum(NamedTuple):
    """A sum, and the name of whose it is; None: not known any more."""

    sum: Sum
    name: str | None


_NOTHING, _NO_HOUR = PeerUse("", 0, 0), HourUse("", "", 0, 0)


@dataclass
class Weighed:
    """What batches of several nodes add, by what was read of the rows. `basis` is what nobody may have changed since.

    `acknowledged`: what each node need not say again, once that is written.
    """

    basis: object
    hours: dict[tuple[int, int], HourUse] = field(default_factory=dict)
    totals: dict[str, PeerUse] = field(default_factory=dict)
    changed: list[CounterRow] = field(default_factory=list)
    new: list[CounterRow] = field(default_factory=list)
    sources: dict[str, SourceRow] = field(default_factory=dict)
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)

    def add(self, counter: CounterRow, each: Added) -> None:
        if not each.received and not each.sent:
            return
        key, config_id, received, sent = (counter.id, each.hour), counter.config_id, each.received, each.sent
        hour, total = self.hours.get(key, _NO_HOUR), self.totals.get(counter.peer_id, _NOTHING)
        self.hours[key] = HourUse(config_id, counter.node_id, hour.received + received, hour.sent + sent)
        self.totals[counter.peer_id] = PeerUse(config_id, total.received + received, total.sent + sent)


def take(tx: Tx, batches: Sequence[NodeBatch], now: float, weighed: Weighed | None = None) -> dict[str, Acknowledged]:
    """Add what is new in batches of several nodes; return what each node need not say again.

    `weighed`: what it came to before this transaction. It counts where nothing that it goes by has changed since.
    """
    if weighed is None or weighed.basis != _basis(tx, batches):
        weighed = weigh(tx, batches, now)
    usage_rows.counted(tx, list(weighed.sources.values()))
    usage_rows.add_counters(tx, weighed.new)
    usage_rows.claim(tx, weighed.changed)
    usage_rows.add_hours(tx, weighed.hours)
    usage_rows.add_totals(tx, weighed.totals, now)
    return weighed.acknowledged


def _basis(tx: Tx, batches: Sequence[NodeBatch]) -> object:
    """Return what changes wherever keys, peers, nodes or counters of batches come or go, or a batch is added."""
    return usage_rows.basis(
        tx, {each.node_id for each in batches}, {config_id for each in batches for config_id in each.batch.configs}
    )


def weigh(tx: Tx, batches: Sequence[NodeBatch], now: float) -> Weighed:
    """Work out what batches of several nodes add, and write nothing: others who write need not wait for it."""
    node_ids = {each.node_id for each in batches}
    nodes, known = usage_rows.nodes(tx, node_ids), usage_rows.sources(tx, node_ids)
    entrusted = usage_rows.entrusted(tx, node_ids)
    sums = Weighed(_basis(tx, batches))
    acknowledged = sums.acknowledged
    numbers = _numbers(tx)
    for node_id, batch, asked in batches:
        source = known.get(node_id)
        if node_id not in nodes:
            continue
        last = NONE if source is None else (source.epoch, source.sequence)
        if asked != last or (batch.epoch == last[0] and batch.sequence <= last[1]):
            acknowledged[node_id] = last
            continue
        name, made_at, mbps = nodes[node_id]
        room = allowance(now - (made_at if source is None else source.at), mbps)
        refused = 0 if source is None else source.refused_bytes
        for config_id, rows in batch.configs.items():
            if (node_id, config_id) in entrusted:
                room, over = _take_config(tx, sums, numbers, (node_id, config_id, rows), (batch.now, now, room))
                refused += over
        if refused and (source is None or refused != source.refused_bytes):
            log.warning("usage.refused", node_id=node_id, refused_bytes=refused)
        fresh = SourceRow(
            node_id=node_id,
            name=name,
            epoch=batch.epoch,
            sequence=batch.sequence,
            at=now,
            refused_bytes=min(refused, 2**62),
        )
        sums.sources[node_id] = known[node_id] = fresh
        acknowledged[node_id] = (batch.epoch, batch.sequence)
    return sums


def _numbers(tx: Tx) -> Iterator[int]:
    """Yield numbers for new counters; asked for only where there is one."""
    number = usage_rows.next_counter(tx)
    while True:
        yield number
        number += 1


def _take_config(
    tx: Tx,
    sums: Weighed,
    numbers: Iterator[int],
    said: tuple[str, str, Sequence[UsageRow]],
    when: tuple[float, float, int],
) -> tuple[int, int]:
    """Add what a node reported on a config's peers; return what room is left, and how much there was none for."""
    node_id, config_id, rows = said
    batch_now, now, room = when
    counters = _counters(tx, numbers, node_id, config_id, rows)
    before: dict[str, Claimed | None] = {
        key: Claimed(each.life, each.claimed_received, each.claimed_sent) if each.life >= 0 else None
        for key, (each, _) in counters.items()
    }
    first = dict(before)
    refused = 0
    at_hours = hours((row.at for row in rows), batch_now, now, now - OLDEST_S)
    for row, hour in zip(rows, at_hours, strict=True):
        if row.public_key not in counters:
            continue
        counter, _ = counters[row.public_key]
        whole = added(before[row.public_key], row, hour)
        before[row.public_key] = claimed(before[row.public_key], row)
        part = clipped(whole, room)
        room -= part.received + part.sent
        refused += whole.received + whole.sent - part.received - part.sent
        sums.add(counter, part)
    for key, (counter, new) in counters.items():
        last = before[key]
        if last is None or (not new and last == first[key]):
            continue
        number, _, _, _, peer_id, *_, former = counter
        fresh = CounterRow(number, node_id, config_id, key, peer_id, last.life, last.received, last.sent, former)
        (sums.new if new else sums.changed).append(fresh)
    return room, refused


def _counters(
    tx: Tx, numbers: Iterator[int], node_id: str, config_id: str, rows: Sequence[UsageRow]
) -> dict[str, tuple[CounterRow, bool]]:
    """Return the counter of each key that was ever a peer's, and whether it is new: its life is -1, or that so far."""
    keys = dict.fromkeys(row.public_key for row in rows)
    there = usage_rows.counters(tx, node_id, config_id, keys)
    found = {key: (row, False) for key, row in there.items()}
    doubtful = [key for key in keys if key not in there or there[key].former]
    owners = usage_rows.owners(tx, config_id, doubtful) if doubtful else {}
    for key, (peer_id, former) in owners.items():
        here = there.get(key)
        if here is not None and here.peer_id == peer_id:
            continue
        life, received, sent = (-1, 0, 0) if here is None else (here.life, here.claimed_received, here.claimed_sent)
        made = CounterRow(next(numbers), node_id, config_id, key, peer_id, life, received, sent, former)
        found[key] = (made, True)
    return found


def traffic(tx: Tx) -> Sequence[Traffic]:
    """Return what all peers together used, by config and node, since these were given to each other."""
    return node_traffic.everywhere(tx)


def open_balances(tx: Tx, config_id: str, used: Mapping[str, tuple[int, int]], now: float) -> None:
    """Begin the totals of new peers with what another program counted (received, sent): of no node, and of no hour."""
    usage_rows.add_totals(tx, {peer_id: PeerUse(config_id, *each) for peer_id, each in used.items()}, now)


def close_balances(tx: Tx, peer_ids: Collection[str]) -> None:
    """Take the totals of peers back that are undone: nothing was used by them."""
    usage_rows.drop_totals(tx, peer_ids)


def last_batches(tx: Tx, node_ids: Collection[str]) -> dict[str, Acknowledged]:
    """Return the last batch of each node that is in the sums."""
    return {node_id: (row.epoch, row.sequence) for node_id, row in usage_rows.sources(tx, node_ids).items()}


def leave(tx: Tx, config_id: str, keys: Mapping[str, tuple[str, str]], at: float) -> None:
    """Note that public keys leave a config, by key: the peer's id and name. What they used stays theirs."""
    usage_rows.leave(tx, config_id, keys, at)


def leave_all(tx: Tx, config_id: str, at: float) -> None:
    """Note that a config is about to be deleted with all its peers."""
    usage_rows.leave_all(tx, config_id, at)


def sums(tx: Tx, asked: UsageQuestion, after: tuple[str, str] | None, limit: int) -> list[NamedSum]:
    """Return up to `limit` sums in the order of period and id, after those two, each with a name."""
    found = usage_sums.sums(tx, asked, after, limit)
    names = usage_sums.names(tx, asked.by, {each.id for each in found})
    return [NamedSum(each, names.get(each.id)) for each in found]


def totals(tx: Tx, peer_ids: Collection[str]) -> dict[str, Total]:
    """Return what peers used since they were made, by id; those that never used anything are left out."""
    return usage_sums.totals(tx, peer_ids)


def by_traffic(tx: Tx, config_id: str, after: str | None, limit: int) -> tuple[list[ShownPeer], str | None]:
    """Return a page of a config's peers, those who used most first, and the cursor of the next one."""
    count, separator, peer_id = (after or "").partition("-")
    is_count = count.isascii() and count.isdigit() and len(count) < MAX_DIGITS
    if after is not None and not (separator and is_count and may_be_id(peer_id)):
        raise cursors.refused()
    last = None if after is None else (int(count), peer_id)
    found = usage_sums.by_traffic(tx, config_id, last, limit + 1)
    rows = [peer for _, peer in found[:limit]]
    return rows, f"{found[limit - 1][0]}-{rows[-1].id}" if len(found) > limit else None
