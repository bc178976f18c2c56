"""Results of DNS syncs, written to rows: the new state, the time of the next attempt, audit entries.

A failure is recorded once when it begins and once when it ends, however many attempts lie between.
"""

from collections.abc import Sequence
from typing import NamedTuple

from wgfleet.panel import clock
from wgfleet.panel.dns.providers import Blocked
from wgfleet.panel.dns.rate_limits import LONGEST_BLOCK_S
from wgfleet.panel.domain.backoff import backoff
from wgfleet.panel.domain.dns.description import describe_plan
from wgfleet.panel.domain.dns.states import ErrorClass, HeldReason, SyncState
from wgfleet.panel.domain.dns.target import SyncResult
from wgfleet.panel.errors import Invalid, PanelError, PermanentError, TransientError
from wgfleet.panel.services import audit
from wgfleet.panel.services.dns.desired import DueSync
from wgfleet.panel.services.dns.syncs import record_history
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import Tx
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store.tables import DnsSync
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason, joined, words_of

_RESULT_KEYS = ("changes", "conflicts", "counts", "drift", "differences", "adopts", "held", "repaired_in_a_row")
_FIGHT = 3  # looks in a row that had to repair: nobody's mistake is made so often, a program's is


class _NewState(NamedTuple):
    state: SyncState
    error: str | None = None
    error_class: ErrorClass | None = None


def record_result(tx: Tx, due: DueSync, result: SyncResult | None, rules: DnsSettings) -> float | None:
    """Record the result of a sync; return the s from the change to publication if the name was published just now.

    No result: a routine sync was skipped to save calls, and is put off.
    """
    sync = dns_rows.get(tx, due.target.id)
    if result is None:
        if sync is not None and _unchanged(sync, due):
            _put_off(sync, rules)
        return None
    ours = result.plan.ours(due.target.mark)
    if sync is None:
        _record_left(tx, due, result, ours)
        return None
    _record_changes(tx, sync, result, ours)
    if sync.state is SyncState.FAILING:
        record_history(tx, sync, "dns_recovered", audit.PANEL, attempts=sync.attempts)
    if due.target.withdrawn and sync.withdrawn and not result.plan.changes:
        _end_withdrawal(tx, sync, ours)
        return None
    repaired = sync.plan.get("repaired_in_a_row", 0) + 1 if result.drift and result.applied else 0
    _keep_result(sync, due, result, ours, repaired)
    new = _new_state(result, repaired)
    # What was changed or asked for in the meantime is for the next sync.
    overtaken = not _unchanged(sync, due)
    if sync.state is not SyncState.CANCELLED and not overtaken:
        _set_state(tx, sync, result, new)
        sync.next_try_at = clock.now() + rules.check_interval_s
    tx.wake(Topic.DNS_PUBLISHED, sync.id)
    return None if overtaken or new.state is not SyncState.SYNCED else _stamp_publication(sync)


def _unchanged(sync: DnsSync, due: DueSync) -> bool:
    return (sync.decided_at, sync.next_try_at) == (due.decided_at, due.next_try_at)


def _put_off(sync: DnsSync, rules: DnsSettings) -> None:
    # Between half an interval and a whole one: those put off together do not come again together.
    sync.next_try_at = clock.now() + rules.check_interval_s * (1 + clock.fraction()) / 2


def _record_left(tx: Tx, due: DueSync, result: SyncResult, ours: Sequence[str]) -> None:
    """Record that records were made at a name while it was given up."""
    if result.applied and ours:
        about = {"name": due.target.name, "provider": due.target.provider}
        reason = Reason("they were made while the name was given up")
        audit.record(
            tx, audit.PANEL, "dns_left", "endpoint_group", due.config_id, **about, left=list(ours), reason=reason
        )


def _record_changes(tx: Tx, sync: DnsSync, result: SyncResult, ours: Sequence[str]) -> None:
    """Record what changed at the name, as observed there: so also what a panel did that was killed before it could."""
    if result.drift and list(result.drift) != sync.plan.get("drift"):
        record_history(tx, sync, "dns_drifted", audit.PANEL, fields=list(result.drift), repaired=result.applied)
    if result.drift:
        return
    added, removed = sorted(set(ours) - set(sync.published)), sorted(set(sync.published) - set(ours))
    if not (added or removed or result.applied):
        return
    who = sync.requested_by
    seconds = round(max(0.0, clock.now() - sync.decided_at), 3)
    record_history(tx, sync, "dns_updated", who, added=added, removed=removed, reason=sync.reason, seconds=seconds)


def _end_withdrawal(tx: Tx, sync: DnsSync, ours: Sequence[str]) -> None:
    dns_rows.remove(tx, sync)
    if ours:
        reason = "the name lists them through another provider or zone"
        record_history(tx, sync, "dns_left", audit.PANEL, left=list(ours), reason=reason)
    tx.wake(Topic.DNS, sync.id)


def _keep_result(sync: DnsSync, due: DueSync, result: SyncResult, ours: Sequence[str], repaired: int) -> None:
    if sync.approved_plan_id == due.target.approved_plan_id:
        # An approval is for one sync: if it were kept, the same plan would be carried out unseen some other day.
        sync.approved_plan_id = None
    kept = {key: value for key, value in sync.plan.items() if key not in _RESULT_KEYS}
    found = {"drift": list(result.drift), "held": result.held, "repaired_in_a_row": repaired}
    sync.plan = {**kept, **describe_plan(result.plan), **found}
    sync.plan_id = result.plan.id if result.plan.changes or result.plan.conflicts else None
    sync.published, sync.attempts, sync.checked_at = list(ours), 0, clock.now()


def _new_state(result: SyncResult, repaired: int) -> _NewState:
    plan = result.plan
    if result.held is HeldReason.APPROVAL:
        return _NewState(SyncState.APPROVAL, _approval_needed(result), ErrorClass.APPROVAL)
    if result.held is HeldReason.DRIFT:
        text = Reason("somebody else changed our records: {drift}; retry repairs them", drift=joined(result.drift))
        return _NewState(SyncState.CONFLICT, text, ErrorClass.DRIFT)
    if repaired >= _FIGHT:
        text = Reason(
            "somebody else goes on changing our records, and they were repaired {repaired} times in a row: "
            "{drift}; is there another panel, on a copy of this database? Stop that one",
            repaired=repaired,
            drift=joined(result.drift),
        )
        return _NewState(SyncState.CONFLICT, text, ErrorClass.DRIFT)
    if plan.conflicts:
        details = joined(conflict.detail for conflict in plan.conflicts)
        said = Reason("nothing is published: {why}", why=details) if plan.stopped else details
        return _NewState(SyncState.CONFLICT, said, ErrorClass.CONFLICT)
    return _NewState(SyncState.PENDING if result.held is HeldReason.DRY_RUN else SyncState.SYNCED)


def _approval_needed(result: SyncResult) -> str:
    counts = result.plan.counts
    ours = counts["delete"] + counts["update"] + counts["keep"]
    return Reason(
        "{count} of {ours} records would be deleted, which is above the approval threshold; "
        "approve plan {plan}, or bring the nodes back",
        count=counts["delete"],
        ours=ours,
        plan=result.plan.id,
    )


def _set_state(tx: Tx, sync: DnsSync, result: SyncResult, new: _NewState) -> None:
    if new.state is not sync.state and new.state in {SyncState.CONFLICT, SyncState.APPROVAL}:
        action = "dns_conflict" if new.state is SyncState.CONFLICT else "dns_approval_needed"
        counts = result.plan.counts
        record_history(tx, sync, action, audit.PANEL, error=new.error, plan_id=sync.plan_id, counts=counts)
    sync.state, sync.error, sync.error_class = new


def _stamp_publication(sync: DnsSync) -> float | None:
    if sync.published_at is not None and sync.published_at >= sync.decided_at:
        return None
    sync.published_at = clock.now()
    return max(0.0, sync.published_at - sync.decided_at)


def record_failure(tx: Tx, due: DueSync, error: Exception, rules: DnsSettings) -> ErrorClass:
    """Record that a sync failed, and when the next is due; return the class of the error."""
    error_class = _class(error)
    sync = dns_rows.get(tx, due.target.id)
    if sync is None:
        return error_class
    failed = Reason("the provider failed: {kind}", kind=type(error).__name__)
    text = failed if error_class is ErrorClass.BUG else words_of(error)
    sync.attempts += 1
    if sync.state is not SyncState.CANCELLED:
        if sync.state is not SyncState.FAILING:
            record_history(tx, sync, "dns_failing", audit.PANEL, error=text, error_class=error_class)
        sync.state, sync.error, sync.error_class = SyncState.FAILING, text, error_class
        if _unchanged(sync, due) or error_class is ErrorClass.BLOCKED:
            sync.next_try_at = clock.now() + _delay(error, error_class, sync.attempts, rules)
    tx.wake(Topic.DNS_PUBLISHED, sync.id)
    return error_class


def _class(error: Exception) -> ErrorClass:
    if isinstance(error, Blocked):
        return ErrorClass.BLOCKED
    if isinstance(error, TransientError):
        return ErrorClass.TRANSIENT
    if isinstance(error, PermanentError | Invalid):
        return ErrorClass.PERMANENT
    # One of the panel's own, such as a database that is not available.
    return ErrorClass.TRANSIENT if isinstance(error, PanelError) else ErrorClass.BUG


def _delay(error: Exception, error_class: ErrorClass, attempts: int, rules: DnsSettings) -> float:
    asked: float | None = getattr(error, "retry_after_s", None)
    if asked is not None and error_class is ErrorClass.BLOCKED:
        return asked
    # What only people can fix is tried again now and then, in case they did so at the provider.
    own = (
        rules.retry_cap_s
        if error_class is ErrorClass.PERMANENT
        else backoff(attempts, clock.fraction(), first_s=1, longest_s=rules.retry_cap_s)
    )
    return own if asked is None else min(max(asked, own), max(LONGEST_BLOCK_S, own))
