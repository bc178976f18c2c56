"""What people see of published names and do about them: list, retry, cancel, approve, adopt."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain.dns.plan import Plan
from wgfleet.panel.domain.dns.target import DRY_RUN, Target
from wgfleet.panel.errors import Conflict, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import configs
from wgfleet.panel.services.dns.syncs import APPROVAL, CANCELLED, CONFLICT, FAILING, PENDING, STATES, decided, record
from wgfleet.panel.services.dns.wanted import target
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import Tx
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store.tables import AuditEntry, DnsSync
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault

WAITING = frozenset({PENDING, FAILING, CONFLICT, APPROVAL})


@dataclass(frozen=True, slots=True)
class Queue:
    """How many names are in each state, how many wait to be as wanted, and for how many s the oldest has."""

    states: dict[str, int]
    waiting: int
    oldest_s: float


def page(tx: Tx, state: str | None = None, after: str | None = None, limit: int = 100) -> Sequence[DnsSync]:
    """Return syncs in the order of creation, starting after the id `after`."""
    return dns_rows.page(tx, state, after, limit)


def of_config(tx: Tx, reference: str) -> list[DnsSync]:
    """Return the syncs of a config by id or name: its name's, and those of names that are being withdrawn.

    A config that was deleted is named by its id.
    """
    found = dns_rows.of_config(tx, configs.resolve(tx, reference))
    if not found:
        raise NotFound(
            f"nothing is published for config {reference!r}: it has no endpoint group with a DNS provider",
            Hint(HintCode.SET_ENDPOINT_GROUP, config=reference),
        )
    return found


def current(tx: Tx, reference: str) -> DnsSync:
    """Return the sync of the name that a config publishes now."""
    for sync in of_config(tx, reference):
        if not sync.withdrawn:
            return sync
    raise NotFound(f"config {reference!r} publishes no name any more; what is left is being withdrawn")


def subject(tx: Tx, vault: Vault, reference: str, rules: DnsSettings) -> tuple[Target, str | None]:
    """Return what the name of a config is to be, for a look that changes nothing, and what there is to say of it."""
    return target(tx, vault, current(tx, reference), rules)


def config_names(tx: Tx, config_ids: Collection[str]) -> dict[str, str]:
    """Return the names of configs by id; those that were deleted have none."""
    return dns_rows.config_names(tx, config_ids)


def retry(tx: Tx, actor: str, reference: str) -> list[DnsSync]:
    """Look at a config's names now; what was cancelled goes on, and reported drift is repaired."""
    found = of_config(tx, reference)
    for sync in found:
        if sync.published_at is not None and sync.published_at >= sync.decided_at:
            # What differs now is then no drift any more, but what this person wants mended.
            decided(sync)
        _look_again(tx, sync)
        record(tx, sync, "dns_retried", actor)
    return found


def _look_again(tx: Tx, sync: DnsSync) -> None:
    if sync.state != FAILING:
        sync.state = PENDING
    sync.next_try_at = clock.now()
    tx.wake(Topic.DNS, sync.id)


def cancel(tx: Tx, actor: str, reference: str) -> list[DnsSync]:
    """Leave a config's names as they are until somebody retries or saves the endpoint group; drop withdrawals."""
    left = []
    for sync in of_config(tx, reference):
        record(tx, sync, "dns_cancelled", actor, withdrawn=sync.withdrawn, left=sync.published)
        tx.wake(Topic.DNS, sync.id)
        if sync.withdrawn:
            dns_rows.remove(tx, sync)
            continue
        sync.state, sync.next_try_at, sync.error, sync.error_class = CANCELLED, None, None, None
        left.append(sync)
    return left


def approve(tx: Tx, actor: str, reference: str, plan_id: str) -> DnsSync:
    """Allow the plan that a name waits with."""
    sync = current(tx, reference)
    if sync.plan_id != plan_id:
        raise Conflict(
            f"plan {plan_id} is not what {sync.name} waits with"
            + (f"; look at {sync.plan_id} and approve that" if sync.plan_id else ": there is nothing to approve"),
            field="plan_id",
        )
    sync.approved_plan_id = plan_id
    record(tx, sync, "dns_approved", actor, plan_id=plan_id, counts=sync.plan.get("counts"))
    _look_again(tx, sync)
    return sync


def adopt(tx: Tx, actor: str, reference: str, plan: Plan, mark: str) -> DnsSync:
    """Allow a plan that takes over records of somebody else, which are those without our `mark`."""
    sync = current(tx, reference)
    if plan.stopped:
        raise Conflict("; ".join(conflict.detail for conflict in plan.conflicts))
    sync.approved_plan_id = plan.id
    decided(sync)
    replaced = (*plan.changes.deletes, *(old for old, _ in plan.changes.updates))
    adopted = sorted(record.content for record in replaced if record.owner != mark)
    record(tx, sync, "dns_adopted", actor, plan_id=plan.id, counts=plan.counts, records=adopted)
    _look_again(tx, sync)
    return sync


def history(tx: Tx, reference: str, limit: int = 50, offset: int = 0) -> tuple[Sequence[AuditEntry], int]:
    """Return the newest audit entries about a config's names, and how many there are in all."""
    return dns_rows.history(tx, configs.resolve(tx, reference), limit, offset)


def queue(tx: Tx) -> Queue:
    """Count names by state. A dry run waits for nothing."""
    now, states, ages = clock.now(), dict.fromkeys(STATES, 0), [0.0]
    for sync in dns_rows.all_syncs(tx):
        states[sync.state] += 1
        if sync.state in WAITING and sync.plan.get("held") != DRY_RUN:
            ages.append(max(0.0, now - sync.decided_at))
    return Queue(states, len(ages) - 1, max(ages))
