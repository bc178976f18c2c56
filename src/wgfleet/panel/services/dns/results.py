"""What came of a look at a published name: its state, when to look again, and what is told of it.

A failure is told once when it begins and once when it ends, however often it is tried in between.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from wgfleet.panel import clock
from wgfleet.panel.dns.providers import Blocked
from wgfleet.panel.dns.rate_limits import LONGEST_BLOCK_S
from wgfleet.panel.domain.backoff import backoff
from wgfleet.panel.domain.dns.plan import Plan, differences
from wgfleet.panel.domain.dns.records import Record
from wgfleet.panel.domain.dns.target import APPROVAL as NEEDS_APPROVAL
from wgfleet.panel.domain.dns.target import DRIFT, DRY_RUN, Outcome
from wgfleet.panel.errors import Invalid, PanelError, PermanentError, TransientError
from wgfleet.panel.services import audit
from wgfleet.panel.services.dns.syncs import APPROVAL, BLOCKED, CANCELLED, CONFLICT, FAILING, PENDING, SYNCED, record
from wgfleet.panel.services.dns.wanted import Job
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import Tx
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store.tables import DnsSync
from wgfleet.panel.store.wakes import Topic

TRANSIENT, PERMANENT, BUG = "transient", "permanent", "bug"
_OF_A_LOOK = ("changes", "conflicts", "counts", "drift", "differences", "adopts", "held")


class _Verdict(NamedTuple):
    state: str
    error: str | None = None
    error_class: str | None = None


def looked(tx: Tx, job: Job, outcome: Outcome | None, rules: DnsSettings) -> float | None:
    """Write down how a look left a name; return the s from the decision until it was published, when that is now.

    No outcome: a routine look was not made, and is to be made later.
    """
    sync = dns_rows.get(tx, job.target.id)
    if outcome is None:
        if sync is not None and _unchanged(sync, job):
            # Those put off together do not come again together, and none comes later than by a full interval.
            sync.next_try_at = clock.now() + rules.check_interval_s * (1 + clock.fraction()) / 2
        return None
    if sync is None:
        _tell_left(tx, job, outcome)
        return None
    now, verdict = clock.now(), _verdict(outcome)
    ours = list(outcome.plan.ours(job.target.mark))
    _tell(tx, sync, outcome, ours)
    if sync.state == FAILING:
        record(tx, sync, "dns_recovered", audit.PANEL, attempts=sync.attempts)
    if job.target.withdrawn and sync.withdrawn and not outcome.plan.changes:
        dns_rows.remove(tx, sync)
        if ours:
            record(
                tx,
                sync,
                "dns_left",
                audit.PANEL,
                left=ours,
                reason="the name lists them through another provider or zone",
            )
        tx.wake(Topic.DNS, sync.id)
        return None
    if sync.approved_plan_id == job.target.allowed_plan_id:
        # It was for this look: were it kept, the same plan would be carried out unseen some other day.
        sync.approved_plan_id = None
    kept = {key: value for key, value in sync.plan.items() if key not in _OF_A_LOOK}
    sync.plan = {**kept, **described(outcome.plan), "drift": list(outcome.drift), "held": outcome.held}
    sync.plan_id = outcome.plan.id if outcome.plan.changes or outcome.plan.conflicts else None
    sync.published, sync.attempts, sync.checked_at = ours, 0, now
    # What was decided or asked for meanwhile is for the next look.
    overtaken = not _unchanged(sync, job)
    if sync.state != CANCELLED and not overtaken:
        _conclude(tx, sync, outcome, verdict)
        sync.next_try_at = now + rules.check_interval_s
    tx.wake(Topic.DNS_PUBLISHED, sync.id)
    if overtaken or verdict.state != SYNCED or (sync.published_at is not None and sync.published_at >= sync.decided_at):
        return None
    sync.published_at = now
    return max(0.0, now - sync.decided_at)


def _conclude(tx: Tx, sync: DnsSync, outcome: Outcome, verdict: _Verdict) -> None:
    if verdict.state != sync.state and verdict.state in {CONFLICT, APPROVAL}:
        action = "dns_conflict" if verdict.state == CONFLICT else "dns_approval_needed"
        record(tx, sync, action, audit.PANEL, error=verdict.error, plan_id=sync.plan_id, counts=outcome.plan.counts)
    sync.state, sync.error, sync.error_class = verdict.state, verdict.error, verdict.error_class


def _unchanged(sync: DnsSync, job: Job) -> bool:
    return (sync.decided_at, sync.next_try_at) == (job.decided_at, job.next_try_at)


def _verdict(outcome: Outcome) -> _Verdict:
    plan = outcome.plan
    if outcome.held == NEEDS_APPROVAL:
        few = f"{plan.counts['delete']} records would be deleted, more than may go unseen"
        return _Verdict(APPROVAL, f"{few}; approve plan {plan.id}, or mend the nodes", APPROVAL)
    if outcome.held == DRIFT:
        return _Verdict(CONFLICT, f"changed by somebody else: {'; '.join(outcome.drift)}; retry repairs it", DRIFT)
    if plan.conflicts:
        stopped = "nothing is published: " if plan.stopped else ""
        return _Verdict(CONFLICT, stopped + "; ".join(conflict.detail for conflict in plan.conflicts), CONFLICT)
    if outcome.held == DRY_RUN:
        return _Verdict(PENDING)
    return _Verdict(SYNCED)


def _tell(tx: Tx, sync: DnsSync, outcome: Outcome, ours: Sequence[str]) -> None:
    """Add to the history what changed at the name, as it is seen there: also what a killed panel did before."""
    if outcome.drift and list(outcome.drift) != sync.plan.get("drift"):
        record(tx, sync, "dns_drifted", audit.PANEL, fields=list(outcome.drift), repaired=outcome.applied)
    if outcome.drift:
        return
    added, removed = sorted(set(ours) - set(sync.published)), sorted(set(sync.published) - set(ours))
    if not (added or removed or outcome.applied):
        return
    who = sync.requested_by
    seconds = round(max(0.0, clock.now() - sync.decided_at), 3)
    record(tx, sync, "dns_updated", who, added=added, removed=removed, reason=sync.reason, seconds=seconds)


def _tell_left(tx: Tx, job: Job, outcome: Outcome) -> None:
    """Tell of records that were made at a name while it was given up."""
    ours = list(outcome.plan.ours(job.target.mark))
    if outcome.applied and ours:
        about = {"name": job.target.name, "provider": job.target.provider}
        reason = "they were made while the name was given up"
        audit.record(tx, audit.PANEL, "dns_left", "endpoint_group", job.config_id, **about, left=ours, reason=reason)


def failed(tx: Tx, job: Job, error: Exception, rules: DnsSettings) -> str:
    """Write down that a look failed, and when the next is due; return the class of the error."""
    error_class = _class(error)
    sync = dns_rows.get(tx, job.target.id)
    if sync is None:
        return error_class
    now, text = clock.now(), str(error) if error_class != BUG else f"the provider failed: {type(error).__name__}"
    sync.attempts += 1
    if sync.state != CANCELLED:
        if sync.state != FAILING:
            record(tx, sync, "dns_failing", audit.PANEL, error=text, error_class=error_class)
        sync.state, sync.error, sync.error_class = FAILING, text, error_class
        if _unchanged(sync, job) or error_class == BLOCKED:
            sync.next_try_at = now + _delay(error, error_class, sync.attempts, rules)
    tx.wake(Topic.DNS_PUBLISHED, sync.id)
    return error_class


def _class(error: Exception) -> str:
    if isinstance(error, Blocked):
        return BLOCKED
    if isinstance(error, TransientError):
        return TRANSIENT
    if isinstance(error, PermanentError | Invalid):
        return PERMANENT
    # The panel's own: its database could not be had.
    return TRANSIENT if isinstance(error, PanelError) else BUG


def _delay(error: Exception, error_class: str, attempts: int, rules: DnsSettings) -> float:
    asked: float | None = getattr(error, "retry_after_s", None)
    if asked is not None and error_class == BLOCKED:
        return asked
    # What only people can mend is looked at now and then, in case they did so at the provider.
    own = (
        rules.retry_cap_s
        if error_class == PERMANENT
        else backoff(attempts, clock.fraction(), first_s=1, longest_s=rules.retry_cap_s)
    )
    return own if asked is None else min(max(asked, own), max(LONGEST_BLOCK_S, own))


def described(plan: Plan) -> dict[str, Any]:
    """Return a plan as rows and answers have it."""
    changes = plan.changes
    return {
        "changes": [
            *({"action": "delete", "before": _shown(r), "after": None} for r in changes.deletes),
            *({"action": "update", "before": _shown(old), "after": _shown(new)} for old, new in changes.updates),
            *({"action": "create", "before": None, "after": _shown(r)} for r in changes.creates),
        ],
        "conflicts": [{"kind": c.kind, "record": _shown(c.record), "detail": c.detail} for c in plan.conflicts],
        "counts": plan.counts,
        "differences": list(differences(plan)),
        "adopts": plan.adopts,
    }


def shown(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return records as answers have them."""
    return [_shown(record) for record in records]


def _shown(record: Record) -> dict[str, Any]:
    return {
        "type": record.type,
        "content": record.content,
        "ttl": record.ttl,
        "owner": record.owner,
        "proxied": record.proxied,
    }
