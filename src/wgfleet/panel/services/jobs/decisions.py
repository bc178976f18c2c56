"""Decisions on peers by their jobs: read afresh, decided without a memory, and written down with what they mean.

What was decided before, or half written when a panel was killed, does not matter: rows say what is so, and jobs what
is to be.
"""

import math
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from wgfleet.panel.domain.jobs.job import TOTALS, Job, JobField, in_effect
from wgfleet.panel.domain.jobs.verdicts import HELD_S, Facts, LimitVerdict, Used, counted_since, verdict
from wgfleet.panel.domain.jobs.words import described
from wgfleet.panel.services import audit, configs, generations
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.services.jobs.commands import value_of
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import jobs as job_rows
from wgfleet.panel.store.jobs import LimitedPeer
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.quotes import quoted
from wgfleet.protocol.reasons import Reason
from wgfleet.protocol.usage import HOUR_S

SHARED_EVERY_S = 60.0  # between two notes of the same
BASES_S = 600.0  # nodes may tell late what was used in hours before
MAX_NAMED = 5


@dataclass
class PeriodBases:
    """What peers had used before a period began, in all: kept, for the sums of a month's hours cost time.

    By peer and hour in which the period begins: (received, sent, until when that is good enough).
    """

    known: dict[tuple[str, int], tuple[int, int, float]] = field(default_factory=dict)

    def forget(self, now: float) -> None:
        """Drop what is old."""
        self.known = {key: each for key, each in self.known.items() if now < each[2] <= now + BASES_S}


class Supposed(NamedTuple):
    """What peers are looked at as if it were so: each has this job in the place of its own ones of the field.

    `tag`: they have it too, as (id, name). `without_tag`: they do not have that one, by id. `tags`: what some of them
    have instead of theirs, by id of the peer.
    """

    job: Job | None = None
    tag: tuple[str, str] | None = None
    without_tag: str | None = None
    tags: Mapping[str, Sequence[tuple[str, str]]] | None = None


NOTHING_ELSE = Supposed()


class LimitDecision(NamedTuple):
    """A peer, the jobs that count for it, what it used by them, and what follows."""

    peer: LimitedPeer
    jobs: list[Job]
    facts: Facts
    verdict: LimitVerdict

    @property
    def changes(self) -> bool:
        """Whether there is something to be done."""
        found = self.verdict
        return bool(
            found.deleted_by
            or found.reset_by
            or (found.restrict, found.restrict is not None)
            != (self.peer.restricted_because, self.peer.restricted_at is not None)
            or (found.expires_at is not None and self.peer.noticed != _notice(found))
        )


def decide(
    tx: Tx,
    now: float,
    bases: PeriodBases | None = None,
    peer_ids: Collection[str] | None = None,
    if_so: Supposed = NOTHING_ELSE,
) -> list[LimitDecision]:
    """Decide on all peers that jobs are about, or on some of them."""
    bases = bases or PeriodBases()
    found = job_rows.limited(tx, peer_ids)
    if not found:
        return []
    jobs = _jobs_of(tx, found, peer_ids, if_so)
    starts = {peer.id: _starts(jobs[peer.id], peer, now) for peer in found}
    _read_bases(tx, found, starts, bases, now)
    decided = []
    for peer in found:
        since = {}
        for start in starts[peer.id]:
            received, sent, _ = bases.known[peer.id, _hour(start)]
            since[start] = Used(max(0, peer.received - received), max(0, peer.sent - sent))
        used = Used(max(0, peer.received - peer.base_received), max(0, peer.sent - peer.base_sent))
        facts = Facts(used, peer.first_at, peer.reset_at, since, peer.devices or 1, peer.shared_at)
        decided.append(LimitDecision(peer, jobs[peer.id], facts, verdict(jobs[peer.id], facts, now)))
    return decided


def device_configs(decisions: Sequence[LimitDecision]) -> set[str]:
    """Return the configs that have peers with a limit of devices."""
    return {each.peer.config_id for each in decisions if any(job.field is JobField.ENDPOINTS for job in each.jobs)}


def note_shared(
    tx: Tx, decisions: Sequence[LimitDecision], found: Mapping[tuple[str, str], int], now: float
) -> list[str]:
    """Note whose files several devices use, by config and public key; return the peers of whom that is news."""
    rows = []
    for each in decisions:
        devices = found.get((each.peer.config_id, each.peer.public_key), 1)
        allowed = [job.value for job in each.jobs if job.field is JobField.ENDPOINTS and job.value is not None]
        if not allowed or devices <= min(allowed) or not _is_news(each.peer, devices, now):
            continue
        rows.append((each.peer.id, devices, now))
        if each.peer.shared_at is None or now - each.peer.shared_at > HELD_S or devices > (each.peer.devices or 1):
            audit.record(tx, audit.PANEL, "file_shared", "peer", each.peer.id, name=each.peer.name, devices=devices)
    job_rows.shared(tx, rows)
    return [peer_id for peer_id, _, _ in rows]


def _is_news(peer: LimitedPeer, devices: int, now: float) -> bool:
    at = peer.shared_at
    return at is None or at > now or now - at > SHARED_EVERY_S or devices > (peer.devices or 1)


def counting_nodes(tx: Tx, decisions: Sequence[LimitDecision]) -> set[str]:
    """Return the nodes whose counters decide on somebody soon: they carry a config with a limit of traffic."""
    configs_with = {each.peer.config_id for each in decisions if any(job.field in TOTALS for job in each.jobs)}
    found = assignment_rows.nodes_of(tx, sorted(configs_with)) if configs_with else {}
    return {node_id for of_config in found.values() for node_id in of_config}


def apply(tx: Tx, decisions: Sequence[LimitDecision], now: float) -> list[LimitDecision]:
    """Do what was decided, in this transaction; the peers of one config become known to its nodes together."""
    of_config: dict[str, list[LimitDecision]] = {}
    for each in decisions:
        if each.changes:
            of_config.setdefault(each.peer.config_id, []).append(each)
    for config_id, changing in of_config.items():
        config = config_rows.find(tx, config_id)
        gone = [each for each in changing if each.verdict.deleted_by]
        if gone and config is not None:
            peers.remove(tx, configs.get(tx, config_id), [each.peer.id for each in gone])
            for each in gone:
                _record(tx, each, "deleted", config.name, each.verdict.deleted_by)
        kept = [each for each in changing if not each.verdict.deleted_by]
        name = config_id if config is None else config.name
        _reset(tx, kept, name, now)
        _restrict(tx, kept, config_id, name, now)
        _give_notice(tx, kept, name)
    return [each for changing in of_config.values() for each in changing]


def effects(decisions: Sequence[LimitDecision]) -> list[str]:
    """Say what decisions would mean, for who is about to make a job."""
    said: list[str] = []
    gone = [each.peer.name for each in decisions if each.verdict.deleted_by]
    out = [
        each.peer.name
        for each in decisions
        if each.verdict.restrict and not each.verdict.deleted_by and each.peer.restricted_at is None
    ]
    back = [each.peer.name for each in decisions if not each.verdict.restrict and each.peer.restricted_at is not None]
    if gone:
        said.append(Reason("{names} would be deleted at once, and their files never work again", names=_names(gone)))
    if out:
        said.append(Reason("{names} would be cut off at once, until the limit no longer says so", names=_names(out)))
    if back:
        said.append(Reason("{names} would be let in again", names=_names(back)))
    return said


def _names(names: Sequence[str]) -> str:
    said, more = ", ".join(map(repr, names[:MAX_NAMED])), len(names) - MAX_NAMED
    return Reason("{names} and {more} more", names=said, more=more) if more > 0 else said


def _jobs_of(
    tx: Tx, found: Sequence[LimitedPeer], peer_ids: Collection[str] | None, if_so: Supposed
) -> dict[str, list[Job]]:
    rows = job_rows.rows(tx)
    tags = _supposed_tags(job_rows.tags(tx, peer_ids), found, if_so)
    names = {tag_id: name for each in tags.values() for tag_id, name in each}
    own: dict[str, list[Job]] = {}
    of_tag: dict[str, list[Job]] = {}
    of_config: dict[str, list[Job]] = {}
    for row in rows:
        if row.peer_id is not None:
            own.setdefault(row.peer_id, []).append(value_of(row, "peer"))
        elif row.tag_id is not None:
            of_tag.setdefault(row.tag_id, []).append(value_of(row, f"tag {quoted(names.get(row.tag_id, row.tag_id))}"))
        elif row.config_id is not None:
            of_config.setdefault(row.config_id, []).append(value_of(row, "config"))

    def jobs_of(peer_id: str | None, tag_ids: tuple[str, ...], config_id: str) -> list[Job]:
        mine = own.get(peer_id, []) if peer_id is not None else []
        if if_so.job is not None:
            mine = [*(job for job in mine if job.field is not if_so.job.field), if_so.job]
        return in_effect([mine, *(of_tag.get(tag_id, []) for tag_id in tag_ids), of_config.get(config_id, [])])

    same = cache(jobs_of)  # most peers have none of their own
    places = ((peer, tuple(tag_id for tag_id, _ in tags.get(peer.id, []))) for peer in found)
    return {peer.id: same(peer.id if peer.id in own else None, tag_ids, peer.config_id) for peer, tag_ids in places}


def _supposed_tags(
    tags: dict[str, list[tuple[str, str]]], found: Sequence[LimitedPeer], if_so: Supposed
) -> dict[str, list[tuple[str, str]]]:
    """Return the tags of peers, by name, as they are supposed to be."""
    if if_so.tags is not None:
        return tags | {peer_id: sorted(each, key=operator.itemgetter(1)) for peer_id, each in if_so.tags.items()}
    if if_so.without_tag is not None:
        return {peer_id: [tag for tag in mine if tag[0] != if_so.without_tag] for peer_id, mine in tags.items()}
    if if_so.tag is None:
        return tags
    return {peer.id: sorted({*tags.get(peer.id, []), if_so.tag}, key=operator.itemgetter(1)) for peer in found}


def _starts(jobs: Sequence[Job], peer: LimitedPeer, now: float) -> set[float]:
    found = (counted_since(job, peer.first_at, now) for job in jobs)
    return {start for start in found if start is not None}


def _hour(start: float) -> int:
    # Of an hour in which a period begins, nobody knows which part was used before: it counts for the one before.
    return math.ceil(start / HOUR_S)


def _read_bases(
    tx: Tx, found: Sequence[LimitedPeer], starts: Mapping[str, set[float]], bases: PeriodBases, now: float
) -> None:
    bases.forget(now)
    wanted: dict[int, list[LimitedPeer]] = {}
    for peer in found:
        for hour in {_hour(start) for start in starts[peer.id]}:
            if (peer.id, hour) not in bases.known:
                wanted.setdefault(hour, []).append(peer)
    for hour, of_hour in wanted.items():
        used = job_rows.used_since(tx, [peer.id for peer in of_hour], hour)
        for peer in of_hour:
            received, sent = used.get(peer.id, (0, 0))
            bases.known[peer.id, hour] = (peer.received - received, peer.sent - sent, now + BASES_S)


def _reset(tx: Tx, decisions: Sequence[LimitDecision], config_name: str, now: float) -> None:
    resetting = [each for each in decisions if each.verdict.reset_by]
    job_rows.reset(tx, [(each.peer.id, each.peer.received, each.peer.sent, now) for each in resetting])
    for each in resetting:
        _record(tx, each, "usage_reset", config_name, each.verdict.reset_by)


def _restrict(tx: Tx, decisions: Sequence[LimitDecision], config_id: str, config_name: str, now: float) -> None:
    turned = [
        each for each in decisions if (each.verdict.restrict is not None) != (each.peer.restricted_at is not None)
    ]
    if turned:
        # Networks behind a peer are routes of the interface, and come and go with it.
        rerouted = any(each.peer.has_networks for each in turned)
        generation = generations.bump(tx, config_id, settings=rerouted, topic=Topic.PEERS)
        job_rows.restrict(tx, {each.peer.id: each.verdict.restrict for each in turned}, now, generation)
        for each in turned:
            _record(tx, each, "restricted" if each.verdict.restrict else "let_in", config_name, None)
    turned_ids = {each.peer.id for each in turned}
    reworded = {
        each.peer.id: each.verdict.restrict
        for each in decisions
        if each.peer.id not in turned_ids and each.verdict.restrict != each.peer.restricted_because
    }
    job_rows.restrict(tx, reworded, now, None)


def _give_notice(tx: Tx, decisions: Sequence[LimitDecision], config_name: str) -> None:
    told = [
        each for each in decisions if each.verdict.expires_at is not None and each.peer.noticed != _notice(each.verdict)
    ]
    job_rows.noticed(tx, [(each.peer.id, _notice(each.verdict)) for each in told])
    for each in told:
        details = {"name": each.peer.name, "config": config_name, "expires_at": each.verdict.expires_at}
        audit.record(tx, audit.PANEL, "expires_soon", "peer", each.peer.id, **details)


def _notice(found: LimitVerdict) -> str:
    return f"{found.expires_by.id if found.expires_by else ''}/{found.expires_at}"


def _record(tx: Tx, each: LimitDecision, action: str, config_name: str, job: Job | None) -> None:
    job = job or each.verdict.restricted_by
    why = {"job": job.id, "because": described(job)} if job is not None else {}
    audit.record(tx, audit.PANEL, action, "peer", each.peer.id, name=each.peer.name, config=config_name, **why)
