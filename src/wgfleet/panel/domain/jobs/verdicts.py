"""Verdicts: what the jobs of a peer say of it now. Pure: by what it used and the time, and by nothing that was before.

So a verdict is the same after a restart, and what it led to is taken back when it no longer holds.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from wgfleet.panel.domain.jobs.job import TOTALS, Job, JobAction, JobField, Operator
from wgfleet.panel.domain.jobs.periods import began, began_from, is_within, zone
from wgfleet.panel.domain.jobs.words import described

# Nodes let nothing through beyond a limit, so what is counted stays up to a packet below it, and that is "used up".
GRAIN, GRAIN_SHARE = 2048, 1000
HELD_S = 600.0  # for how long a peer whose file was shared is kept out: while it is, nobody sees whether it still is


class Used(NamedTuple):
    """Bytes that nodes received from a peer, and sent to it."""

    received: int
    sent: int


class Facts(NamedTuple):
    """What is known of a peer. `used`: since it was made, or since `reset_at`. `since`: since each moment asked for.

    `first_at`: when it first used anything; None: never. `devices`: how many used its file
    at once, at `shared_at`.
    """

    used: Used
    first_at: float | None = None
    reset_at: float | None = None
    since: Mapping[float, Used] = {}
    devices: int = 1
    shared_at: float | None = None


class LimitVerdict(NamedTuple):
    """What follows. `restrict`: why no node is to let the peer in. `deleted_by`, `reset_by`: the job that asks for it.

    `expires_at`: the date of which notice is to be given now, by `expires_by`. `left`: bytes in both directions that
    it may still use; None: without end.
    """

    restrict: str | None = None
    restricted_by: Job | None = None
    deleted_by: Job | None = None
    reset_by: Job | None = None
    expires_at: float | None = None
    expires_by: Job | None = None
    left: int | None = None


def counted_since(job: Job, first_at: float | None, now: float) -> float | None:
    """Return since when a job counts now; None: since the peer was made, or its usage reset."""
    if job.period is None or (job.from_first_use and first_at is None):
        return None
    where = _zone(job)
    if job.from_first_use and first_at is not None:
        return began_from(first_at, job.period, where, now)
    return began(job.period, where, now)


def used_by(job: Job, facts: Facts, now: float) -> int:
    """Return how much a job counts now, in bytes."""
    used = facts.used
    since = counted_since(job, facts.first_at, now)
    if since is not None and (facts.reset_at is None or facts.reset_at < since):
        used = facts.since.get(since, used)
    if job.field is JobField.TOTAL_RECEIVE:
        return used.received
    return used.sent if job.field is JobField.TOTAL_SENT else used.received + used.sent


def due_at(job: Job, first_at: float | None, now: float) -> float | None:
    """Return the date of a job; None: it has none yet. Of one with a period, the last one."""
    if job.period is not None:
        return counted_since(job, first_at, now) if first_at is not None or not job.from_first_use else None
    if job.value is None:
        return None
    if not job.from_first_use:
        return float(job.value)
    return None if first_at is None else first_at + job.value


def verdict(jobs: Sequence[Job], facts: Facts, now: float) -> LimitVerdict:
    """Return what the jobs that count for a peer say of it."""
    found = LimitVerdict()
    for job in jobs:
        if holds(job, facts, now):
            found = _with(found, job)
        if job.field is JobField.DATE and job.notice_s and job.operator is Operator.LARGER:
            due = due_at(job, facts.first_at, now)
            if due is not None and due - job.notice_s <= now < due < (found.expires_at or float("inf")):
                found = found._replace(expires_at=due, expires_by=job)
        if is_quota(job) and job.value is not None:
            left = max(0, job.value - used_by(job, facts, now))
            found = found._replace(left=left if found.left is None else min(left, found.left))
    return found


def _with(found: LimitVerdict, job: Job) -> LimitVerdict:
    if job.action is JobAction.DELETE:
        return found if found.deleted_by else found._replace(deleted_by=job)
    if job.action is JobAction.WARN:
        return found
    if job.action is JobAction.RESET:
        return found if found.reset_by else found._replace(reset_by=job)
    return found if found.restricted_by else found._replace(restrict=described(job), restricted_by=job)


def is_quota(job: Job) -> bool:
    """Tell whether a job is an allowance of both directions, after which the peer is cut off."""
    cuts = job.action in {JobAction.RESTRICT, JobAction.DELETE}
    return job.field is JobField.TOTAL_DATA and job.operator is Operator.LARGER and cuts


def holds(job: Job, facts: Facts, now: float) -> bool:
    """Tell whether the comparison of a job holds. That of a reset does until the usage was reset."""
    if job.field is JobField.SCHEDULE:
        return not is_within(job.windows, _zone(job), now)
    if job.field is JobField.DATE:
        return _date_holds(job, facts, now)
    if job.value is None:
        return False
    return _is_shared(job, facts, now) if job.field is JobField.ENDPOINTS else _total_holds(job, facts, now)


def _total_holds(job: Job, facts: Facts, now: float) -> bool:
    if job.field not in TOTALS or job.value is None:
        return False
    used = used_by(job, facts, now)
    if job.operator is Operator.LARGER:
        return used > job.value - (min(GRAIN, job.value // GRAIN_SHARE) if is_quota(job) else 0)
    if job.operator is Operator.LESS:
        return used < job.value
    return (used == job.value) is (job.operator is Operator.EQUAL)


def _is_shared(job: Job, facts: Facts, now: float) -> bool:
    recent = facts.shared_at is not None and facts.shared_at <= now < facts.shared_at + HELD_S
    return recent and job.value is not None and facts.devices > job.value


def _date_holds(job: Job, facts: Facts, now: float) -> bool:
    due = due_at(job, facts.first_at, now)
    if due is None:
        return False
    if job.action is JobAction.RESET:
        new = due >= job.created_at and (facts.reset_at is None or facts.reset_at < due)
        return new and now >= due
    return now < due if job.operator is Operator.LESS else now >= due


def _zone(job: Job) -> ZoneInfo:
    return zone(job.time_zone)
