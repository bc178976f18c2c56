"""What a name is to list, decided from fresh rows, and the look at it that is due. Must not call a provider."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.dns.rate_limits import LONGEST_BLOCK_S
from wgfleet.panel.domain.dns.listing import Listed, Mode, OnDrift, listed
from wgfleet.panel.domain.dns.plan import Approval, address_records
from wgfleet.panel.domain.dns.records import mark
from wgfleet.panel.domain.dns.target import Target
from wgfleet.panel.services import audit
from wgfleet.panel.services.dns import serving_nodes
from wgfleet.panel.services.dns.syncs import (
    BLOCKED,
    CANCELLED,
    FAILING,
    PENDING,
    SYNCED,
    decided,
    is_of,
    name_of,
    opened,
    withdraw,
)
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import Tx
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import DnsSync, EndpointGroup
from wgfleet.panel.vault import Vault


@dataclass(frozen=True, slots=True)
class Job:
    """A look that is due. The times are as they were found: what somebody asks for meanwhile changes one of them."""

    target: Target
    config_id: str
    decided_at: float
    next_try_at: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do for a name now: `job`, or nothing before `wait_s` (None: until something changes)."""

    job: Job | None = None
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the rows ask for at a name; `group` None: nothing of ours."""

    group: EndpointGroup | None
    listed: Listed

    @property
    def summary(self) -> dict[str, Any]:
        """Return what is compared with the last decision."""
        if self.group is None:
            return {"wanted": [], "ttl": None, "mode": None}
        return {"wanted": list(self.listed.addresses), "ttl": self.group.ttl, "mode": self.group.dns_mode}


def is_idle(tx: Tx, sync_id: str, rules: DnsSettings) -> Decision | None:
    """Return what to wait for where nothing is due and nothing new was decided; None: call `decide`."""
    sync = dns_rows.get(tx, sync_id)
    if sync is None:
        return Decision()
    wish = _wish(tx, sync)
    if (wish.group is None) is not sync.withdrawn or _differs(sync, wish) or sync.plan.get("note") != wish.listed.note:
        return None
    return _wait(sync, rules)


def _differs(sync: DnsSync, wish: _Wish) -> bool:
    known = {key: sync.plan.get(key, []) for key in ("wanted", "ttl", "mode")}
    return not sync.withdrawn and known != wish.summary


def _wait(sync: DnsSync, rules: DnsSettings) -> Decision | None:
    if sync.state == CANCELLED:
        return Decision()
    left = (sync.next_try_at or 0.0) - clock.now()
    # What is due later than could be written now was written by a clock that has been set back since.
    longest = max(rules.retry_cap_s, LONGEST_BLOCK_S) if sync.state == FAILING else rules.check_interval_s
    return Decision(wait_s=left) if 0 < left <= longest else None


def _wish(tx: Tx, sync: DnsSync) -> _Wish:
    group = endpoint_group_rows.get(tx, sync.config_id)
    if group is None or not is_of(sync, group):
        return _Wish(None, Listed(()))
    return _Wish(group, _listed(tx, group))


def _listed(tx: Tx, group: EndpointGroup) -> Listed:
    return listed(
        serving_nodes.of_config(tx, group.config_id),
        serving_nodes.floating(tx, group.config_id),
        only_healthy=group.publish_only_healthy,
        min_nodes=group.min_nodes,
    )


def decide(tx: Tx, vault: Vault, sync_id: str, rules: DnsSettings) -> Decision:
    """Write down what is wanted of a name, where that is new, and return the look that is due."""
    sync = dns_rows.get(tx, sync_id)
    if sync is None:
        return Decision()
    wish = _wish(tx, sync)
    if wish.group is None and not sync.withdrawn:
        withdraw(tx, sync, audit.PANEL, "its endpoint group is gone")
        if not sync.withdrawn:
            return Decision()
    elif wish.group is not None and (sync.withdrawn or _differs(sync, wish)):
        sync.withdrawn = False
        _decided(tx, sync, wish, rules)
    sync.plan = {**sync.plan, "note": wish.listed.note}
    waiting = _wait(sync, rules)
    if waiting is not None:
        return waiting
    return Decision(Job(_target(tx, vault, sync, wish, rules), sync.config_id, sync.decided_at, sync.next_try_at))


def _decided(tx: Tx, sync: DnsSync, wish: _Wish, rules: DnsSettings) -> None:
    now, first = clock.now(), not sync.plan
    before, after = set(sync.published), set(wish.listed.addresses)
    sync.plan = {**sync.plan, **wish.summary}
    if not first:
        decided(sync)
        sync.reason, sync.requested_by = serving_nodes.reason(tx, sync.config_id, before, after)
    if sync.state == CANCELLED:
        return
    if sync.state != FAILING:
        sync.state = PENDING
    if sync.error_class == BLOCKED:
        return
    # What goes cannot wait, for clients are sent there. What comes may: more of it often follows.
    if not before or before - after or not after - before:
        sync.next_try_at = None
    elif sync.next_try_at is not None:
        sync.next_try_at = min(sync.next_try_at, now + rules.gather_s)


def _target(tx: Tx, vault: Vault, sync: DnsSync, wish: _Wish, rules: DnsSettings) -> Target:
    ours = _mark(tx, sync.config_id)
    verified = sync.published_at is not None and sync.published_at >= sync.decided_at
    wanted: Collection[str] = wish.listed.addresses
    if sync.withdrawn:
        wanted = _published_elsewhere(tx, sync)
    return Target(
        id=sync.id,
        provider=sync.provider,
        zone=sync.zone,
        name=sync.name,
        options=opened(vault, sync),
        mark=ours,
        wanted=address_records(wanted, wish.group.ttl if wish.group else 0, ours),
        approval=Approval(rules.approval_share, rules.approval_records),
        mode=Mode(wish.group.dns_mode) if wish.group else Mode.SYNC,
        withdrawn=sync.withdrawn,
        reports_drift=wish.group is not None and wish.group.dns_drift == OnDrift.REPORT,
        verified=verified,
        routine=verified and sync.state == SYNCED and not sync.withdrawn,
        expected=frozenset() if sync.withdrawn else serving_nodes.removed_by_people(tx, sync.config_id),
        allowed_plan_id=sync.approved_plan_id,
    )


def _published_elsewhere(tx: Tx, sync: DnsSync) -> set[str]:
    """Return what the same name lists through another provider or zone: it may be the same one in truth."""
    group = endpoint_group_rows.get(tx, sync.config_id)
    if group is None or not group.dns_provider or name_of(group) != sync.name:
        return set()
    return set(_listed(tx, group).addresses)


def target(tx: Tx, vault: Vault, sync: DnsSync, rules: DnsSettings) -> tuple[Target, str | None]:
    """Return what a name is to be, for somebody who wants to see what would be done, and what there is to say of it."""
    wish = _wish(tx, sync)
    return _target(tx, vault, sync, wish, rules), wish.listed.note


def _mark(tx: Tx, config_id: str) -> str:
    return mark(dns_rows.panel_id(tx) or "panel", config_id)


def withdrawn_at(tx: Tx, config_id: str, addresses: Collection[str]) -> float | None:
    """Return when a config's names were last seen to list what they should, at 0 where none is kept by us.

    None: some of `addresses`, which are to go, are listed still.
    """
    latest = 0.0
    for sync in dns_rows.of_config(tx, config_id):
        if sync.withdrawn or sync.state == CANCELLED or sync.plan.get("mode") != Mode.SYNC:
            continue
        if set(addresses) & set(sync.published):
            return None
        latest = max(latest, sync.published_at or 0.0)
    return latest
