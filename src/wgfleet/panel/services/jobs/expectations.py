"""Decisions on peers that are not made yet: by the same rules as on those that are, without a row of them."""

from collections.abc import Sequence
from typing import NamedTuple

from wgfleet.panel.domain.jobs.job import Job, in_effect
from wgfleet.panel.domain.jobs.verdicts import Facts, Used, counted_since, verdict
from wgfleet.panel.services.jobs import commands
from wgfleet.panel.services.jobs.commands import JobSpec
from wgfleet.panel.services.jobs.decisions import LimitDecision
from wgfleet.panel.store import Tx
from wgfleet.panel.store import jobs as job_rows
from wgfleet.panel.store import tags as tag_rows
from wgfleet.panel.store.jobs import LimitedPeer
from wgfleet.protocol.quotes import quoted


class ExpectedPeer(NamedTuple):
    """A peer to be made: the names of its tags, its own jobs, and what its total begins with."""

    name: str
    tags: Sequence[str]
    jobs: Sequence[JobSpec]
    received: int
    sent: int


def decide(tx: Tx, config_id: str, found: Sequence[ExpectedPeer], now: float) -> list[LimitDecision]:
    """Decide on peers to be made in a config; those that no job is about are left out."""
    of_config = [commands.value_of(row, "config") for row in job_rows.of_owner(tx, "config_id", config_id)]
    of_tags = {name: _of_tag(tx, name) for name in {name for each in found for name in each.tags}}
    decided = []
    for each in found:
        own = [commands.as_if(spec) for spec in each.jobs]
        jobs = in_effect([own, *(of_tags[name] for name in sorted(each.tags)), of_config])
        if not jobs:
            continue
        first_at = now if each.received or each.sent else None
        starts = (counted_since(job, first_at, now) for job in jobs)
        # What it begins with belongs to no hour, and to no period.
        since = {start: Used(0, 0) for start in starts if start is not None}
        facts = Facts(Used(each.received, each.sent), first_at, None, since)
        decided.append(LimitDecision(_row(config_id, each, first_at), jobs, facts, verdict(jobs, facts, now)))
    return decided


def _of_tag(tx: Tx, name: str) -> list[Job]:
    tag = tag_rows.find(tx, name)
    rows = [] if tag is None else job_rows.of_owner(tx, "tag_id", tag.id)
    return [commands.value_of(row, f"tag {quoted(name)}") for row in rows]


def _row(config_id: str, each: ExpectedPeer, first_at: float | None) -> LimitedPeer:
    return LimitedPeer(
        id="",
        config_id=config_id,
        name=each.name,
        public_key="",
        enabled=True,
        has_networks=False,
        restricted_at=None,
        restricted_because=None,
        received=each.received,
        sent=each.sent,
        first_at=first_at,
        base_received=0,
        base_sent=0,
        reset_at=None,
        noticed=None,
        home_node_id=None,
        devices=None,
        shared_at=None,
    )
