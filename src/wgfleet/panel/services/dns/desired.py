"""Desired records of a DNS name, read from rows, and the sync that is due for it. Calls no provider."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.dns.rate_limits import LONGEST_BLOCK_S
from wgfleet.panel.domain.dns.listing import DesiredAddresses, DnsMode, OnDrift, desired_addresses
from wgfleet.panel.domain.dns.plan import Approval, address_records
from wgfleet.panel.domain.dns.records import mark
from wgfleet.panel.domain.dns.states import ErrorClass, SyncState
from wgfleet.panel.domain.dns.target import Target
from wgfleet.panel.services import audit
from wgfleet.panel.services.dns import published_names, serving_nodes
from wgfleet.panel.services.dns.published_names import is_of
from wgfleet.panel.services.dns.syncs import open_options, stamp_change, withdraw
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import Tx
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import DnsSync, EndpointGroup
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason


@dataclass(frozen=True, slots=True)
class DueSync:
    """A sync that is due. The times are those of the row when it was read: a change or command meanwhile moves one."""

    target: Target
    config_id: str
    decided_at: float
    next_try_at: float | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is next for a name: the sync that is `due`, or none for `wait_s` (None: until something changes)."""

    due: DueSync | None = None
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Desired:
    """What the rows ask for at a name. `group` None: no records of ours."""

    group: EndpointGroup | None
    listing: DesiredAddresses

    @property
    def summary(self) -> dict[str, Any]:
        """Return the part of a sync's plan that says what is desired."""
        if self.group is None:
            return {"wanted": [], "ttl": None, "mode": None}
        return {"wanted": list(self.listing.addresses), "ttl": self.group.ttl, "mode": self.group.dns_mode}


def waiting(tx: Tx, sync_id: str, rules: DnsSettings) -> Schedule | None:
    """Return the schedule of a name if nothing is due and nothing changed; None: call `record_desired`."""
    sync = dns_rows.get(tx, sync_id)
    if sync is None:
        return Schedule()
    desired = _desired(tx, sync)
    moved = (desired.group is None) is not sync.withdrawn or _differs(sync, desired)
    if moved or sync.plan.get("note") != desired.listing.note:
        return None
    return _wait(sync, rules)


def _differs(sync: DnsSync, desired: _Desired) -> bool:
    known = {key: sync.plan.get(key, []) for key in ("wanted", "ttl", "mode")}
    return not sync.withdrawn and known != desired.summary


def _wait(sync: DnsSync, rules: DnsSettings) -> Schedule | None:
    if sync.state is SyncState.CANCELLED:
        return Schedule()
    left = (sync.next_try_at or 0.0) - clock.now()
    # A later time than could be written now is from a clock that has been set back since.
    failing = sync.state is SyncState.FAILING
    longest = max(rules.retry_cap_s, LONGEST_BLOCK_S) if failing else rules.check_interval_s
    return Schedule(wait_s=left) if 0 < left <= longest else None


def _desired(tx: Tx, sync: DnsSync) -> _Desired:
    group = endpoint_group_rows.get(tx, sync.config_id)
    if group is None or not is_of(tx, sync, group):
        return _Desired(None, DesiredAddresses(()))
    return _Desired(group, _listing(tx, group, sync.name))


def _listing(tx: Tx, group: EndpointGroup, name: str) -> DesiredAddresses:
    if published_names.is_of_nodes(tx, group.config_id):
        return published_names.at_node(tx, group, name)
    return desired_addresses(
        serving_nodes.of_config(tx, group.config_id),
        serving_nodes.floating_addresses(tx, group.config_id),
        only_healthy=group.publish_only_healthy,
        min_nodes=group.min_nodes,
    )


def record_desired(tx: Tx, vault: Vault, sync_id: str, rules: DnsSettings) -> Schedule:
    """Write the desired records to the name's row if they changed, and return what is next."""
    sync = dns_rows.get(tx, sync_id)
    if sync is None:
        return Schedule()
    desired = _desired(tx, sync)
    if desired.group is None and not sync.withdrawn:
        gone = endpoint_group_rows.get(tx, sync.config_id) is None
        why = Reason("its endpoint group is gone") if gone else Reason("no node of the config has this name any more")
        withdraw(tx, sync, audit.PANEL, why)
        if not sync.withdrawn:
            return Schedule()
    elif desired.group is not None and (sync.withdrawn or _differs(sync, desired)):
        sync.withdrawn = False
        _record_change(tx, sync, desired, rules)
    sync.plan = {**sync.plan, "note": desired.listing.note}
    schedule = _wait(sync, rules)
    if schedule is not None:
        return schedule
    return Schedule(
        DueSync(_target(tx, vault, sync, desired, rules), sync.config_id, sync.decided_at, sync.next_try_at)
    )


def _record_change(tx: Tx, sync: DnsSync, desired: _Desired, rules: DnsSettings) -> None:
    now, first = clock.now(), not sync.plan
    before, after = set(sync.published), set(desired.listing.addresses)
    sync.plan = {**sync.plan, **desired.summary}
    if not first:
        stamp_change(sync)
        sync.reason, sync.requested_by = serving_nodes.change_reason(tx, sync.config_id, before, after)
    if sync.state is SyncState.CANCELLED:
        return
    if sync.state is not SyncState.FAILING:
        sync.state = SyncState.PENDING
    if sync.error_class is ErrorClass.BLOCKED:
        return
    # A removal cannot wait: the name sends clients there. An addition can: more of them often follow.
    if not before or before - after or not after - before:
        sync.next_try_at = None
    elif sync.next_try_at is not None:
        sync.next_try_at = min(sync.next_try_at, now + rules.gather_s)


def _target(tx: Tx, vault: Vault, sync: DnsSync, desired: _Desired, rules: DnsSettings) -> Target:
    ours = _mark(tx, sync.config_id)
    verified = sync.published_at is not None and sync.published_at >= sync.decided_at
    addresses: Collection[str] = desired.listing.addresses
    if sync.withdrawn:
        addresses = _published_elsewhere(tx, sync)
    return Target(
        id=sync.id,
        provider=sync.provider,
        zone=sync.zone,
        name=sync.name,
        options=open_options(vault, sync),
        mark=ours,
        desired=address_records(addresses, desired.group.ttl if desired.group else 0, ours),
        approval=Approval(rules.approval_share, rules.approval_records),
        mode=desired.group.dns_mode if desired.group else DnsMode.SYNC,
        withdrawn=sync.withdrawn,
        reports_drift=desired.group is not None and desired.group.dns_drift is OnDrift.REPORT,
        verified=verified,
        routine=verified and sync.state is SyncState.SYNCED and not sync.withdrawn,
        expected=frozenset() if sync.withdrawn else serving_nodes.removed_by_operators(tx, sync.config_id),
        approved_plan_id=sync.approved_plan_id,
    )


def _published_elsewhere(tx: Tx, sync: DnsSync) -> set[str]:
    """Return what the same name lists through another provider or zone, which may be the same zone in the end."""
    group = endpoint_group_rows.get(tx, sync.config_id)
    if group is None or not group.dns_provider or sync.name not in published_names.of_group(tx, group):
        return set()
    return set(_listing(tx, group, sync.name).addresses)


def desired_target(tx: Tx, vault: Vault, sync: DnsSync, rules: DnsSettings) -> tuple[Target, str | None]:
    """Return the target of a name and its note, for a preview."""
    desired = _desired(tx, sync)
    return _target(tx, vault, sync, desired, rules), desired.listing.note


def _mark(tx: Tx, config_id: str) -> str:
    return mark(dns_rows.panel_id(tx) or "panel", config_id)


def withdrawn_at(tx: Tx, config_id: str, addresses: Collection[str]) -> float | None:
    """Return when a config's names were last seen to be right, 0 where we keep none.

    None: some of `addresses`, which are to be removed, are still listed.
    """
    latest = 0.0
    if published_names.is_of_nodes(tx, config_id):
        return latest  # a node of its own name keeps it until it has left
    for sync in dns_rows.of_config(tx, config_id):
        if sync.withdrawn or sync.state is SyncState.CANCELLED or sync.plan.get("mode") != DnsMode.SYNC:
            continue
        if set(addresses) & set(sync.published):
            return None
        latest = max(latest, sync.published_at or 0.0)
    return latest
