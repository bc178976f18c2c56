"""Commands and views of published names: list, retry, cancel, approve, adopt, history, queue."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain.dns.plan import DnsPlan
from wgfleet.panel.domain.dns.states import HeldReason, SyncState
from wgfleet.panel.domain.dns.target import Target
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import configs
from wgfleet.panel.services.dns.desired import desired_target
from wgfleet.panel.services.dns.syncs import record_history, stamp_change
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import Tx
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import AuditEntry, DnsSync
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason, template

WAITING = frozenset({SyncState.PENDING, SyncState.FAILING, SyncState.CONFLICT, SyncState.APPROVAL})


@dataclass(frozen=True, slots=True)
class Queue:
    """How many names are in each state, how many are not yet as desired, and for how many s the oldest has waited."""

    states: dict[SyncState, int]
    waiting: int
    oldest_s: float


def page(
    tx: Tx, state: SyncState | None = None, after: str | None = None, limit: int = 100, within: Limit | None = None
) -> Sequence[DnsSync]:
    """Return syncs in the order they were made, from after the id `after`."""
    return dns_rows.page(tx, state, after, limit, within)


def of_config(tx: Tx, reference: str) -> list[DnsSync]:
    """Return the syncs of a config by id or name: the one of its name, and those of names that are being withdrawn.

    A deleted config is found by its id.
    """
    found = dns_rows.of_config(tx, configs.resolve(tx, reference))
    if not found:
        config = configs.get(tx, reference)
        group = endpoint_group_rows.get(tx, config.id)
        if group is not None and group.dns_provider:
            raise NotFound(
                Reason("nothing is published yet: no node of config {config!r} serves", config=config.name),
                Hint(HintCode.LIST_CONFIG_NODES, config=config.name),
            )
        raise NotFound(
            Reason(
                "nothing is published for config {reference!r}: it has no endpoint group with a DNS provider",
                reference=reference,
            ),
            Hint(HintCode.SET_ENDPOINT_GROUP, config=reference),
        )
    return found


def published_of(tx: Tx, config_id: str) -> list[DnsSync]:
    """Return the syncs of a config; none where nothing is published for it."""
    return dns_rows.of_config(tx, config_id)


def current(tx: Tx, reference: str, name: str | None = None) -> DnsSync:
    """Return the sync of the name that a config publishes now; `name`: which one, where each node has its own."""
    found = [sync for sync in of_config(tx, reference) if not sync.withdrawn]
    if not found:
        said = "config {reference!r} no longer publishes a name; what is left is being withdrawn"
        raise NotFound(Reason(template(said), reference=reference))
    wanted = [sync for sync in found if name in {None, sync.name}]
    if len(wanted) == 1:
        return wanted[0]
    names = ", ".join(sorted(sync.name for sync in found))
    if name is None:
        raise Invalid(
            Reason("config {reference!r} has {names}; say which", reference=reference, names=names), field="name"
        )
    raise NotFound(
        Reason("config {reference!r} has no name {name}; it has {names}", reference=reference, name=name, names=names),
        field="name",
    )


def current_target(
    tx: Tx, vault: Vault, reference: str, rules: DnsSettings, name: str | None = None
) -> tuple[Target, str | None]:
    """Return the target of a config's name and its note, for a preview or a check; `name` as of `current`."""
    return desired_target(tx, vault, current(tx, reference, name), rules)


def config_names(tx: Tx, config_ids: Collection[str]) -> dict[str, str]:
    """Return the names of configs by id; deleted ones have none."""
    return dns_rows.config_names(tx, config_ids)


def retry(tx: Tx, actor: str, reference: str) -> list[DnsSync]:
    """Sync a config's names now; resume cancelled ones, and repair drift that was only reported."""
    found = of_config(tx, reference)
    for sync in found:
        if sync.published_at is not None and sync.published_at >= sync.decided_at:
            # A difference is then no longer drift to report, but what this person wants repaired.
            stamp_change(sync)
        _sync_now(tx, sync)
        record_history(tx, sync, "dns_retried", actor)
    return found


def _sync_now(tx: Tx, sync: DnsSync) -> None:
    if sync.state is not SyncState.FAILING:
        sync.state = SyncState.PENDING
    sync.next_try_at = clock.now()
    tx.wake(Topic.DNS, sync.id)


def cancel(tx: Tx, actor: str, reference: str) -> list[DnsSync]:
    """Leave a config's names as they are until somebody retries or saves the endpoint group; give up withdrawals."""
    left = []
    for sync in of_config(tx, reference):
        record_history(tx, sync, "dns_cancelled", actor, withdrawn=sync.withdrawn, left=sync.published)
        tx.wake(Topic.DNS, sync.id)
        if sync.withdrawn:
            dns_rows.remove(tx, sync)
            continue
        sync.state, sync.next_try_at, sync.error, sync.error_class = SyncState.CANCELLED, None, None, None
        left.append(sync)
    return left


def approve(tx: Tx, actor: str, reference: str, plan_id: str) -> DnsSync:
    """Approve the plan that a name waits with; of several names, the one that waits with it."""
    waiting = [sync for sync in of_config(tx, reference) if not sync.withdrawn and sync.plan_id == plan_id]
    sync = current(tx, reference, waiting[0].name if waiting else None)
    if sync.plan_id != plan_id:
        way_out = Reason(": there is nothing to approve")
        if sync.plan_id:
            way_out = Reason("; review plan {plan_id} and approve that", plan_id=sync.plan_id)
        raise Conflict(
            Reason(
                "plan {plan_id} is not the one that {name} waits with{way_out}",
                plan_id=plan_id,
                name=sync.name,
                way_out=way_out,
            ),
            field="plan_id",
        )
    sync.approved_plan_id = plan_id
    record_history(tx, sync, "dns_approved", actor, plan_id=plan_id, counts=sync.plan.get("counts"))
    _sync_now(tx, sync)
    return sync


def adopt(tx: Tx, actor: str, reference: str, plan: DnsPlan, mark: str, name: str | None = None) -> DnsSync:
    """Approve a plan that adopts foreign records, which are those without our `mark`; `name` as of `current`."""
    sync = current(tx, reference, name)
    if plan.stopped:
        raise Conflict("; ".join(conflict.detail for conflict in plan.conflicts))
    sync.approved_plan_id = plan.id
    stamp_change(sync)
    replaced = (*plan.changes.deletes, *(old for old, _ in plan.changes.updates))
    adopted = sorted(record.content for record in replaced if record.owner != mark)
    record_history(tx, sync, "dns_adopted", actor, plan_id=plan.id, counts=plan.counts, records=adopted)
    _sync_now(tx, sync)
    return sync


def history(
    tx: Tx, reference: str, limit: int = 50, offset: int = 0, before: int | None = None
) -> tuple[Sequence[AuditEntry], int]:
    """Return the newest audit entries about a config's names, older than number `before`; and the number of all."""
    return dns_rows.history(tx, configs.resolve(tx, reference), limit, offset, before)


def queue(tx: Tx) -> Queue:
    """Count names by state. A dry run does not count as waiting."""
    now, states, ages = clock.now(), dict.fromkeys(SyncState, 0), [0.0]
    for sync in dns_rows.all_syncs(tx):
        states[sync.state] += 1
        if sync.state in WAITING and sync.plan.get("held") != HeldReason.DRY_RUN:
            ages.append(max(0.0, now - sync.decided_at))
    return Queue(states, len(ages) - 1, max(ages))
