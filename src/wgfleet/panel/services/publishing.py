"""What a config's name is to list, decided from fresh rows, and what came of each look at it.

Owns the rows of published names. Must not call a provider: `dns.publisher` does, between `decide` and `looked`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.dns.publisher import Target
from wgfleet.panel.domain.publishing import Listed, Mode, OnDrift, listed
from wgfleet.panel.domain.record_plan import Approval, address_records
from wgfleet.panel.domain.records import mark
from wgfleet.panel.services import audit, servers
from wgfleet.panel.settings.model import Dns
from wgfleet.panel.store import Tx
from wgfleet.panel.store import dns as rows
from wgfleet.panel.store import endpoint_groups as group_rows
from wgfleet.panel.store.tables import DnsSync, EndpointGroup
from wgfleet.panel.vault import Vault

PENDING, SYNCED, FAILING = "pending", "synced", "failing"
CONFLICT, APPROVAL, CANCELLED = "conflict", "approval", "cancelled"
STATES = (PENDING, SYNCED, FAILING, CONFLICT, APPROVAL, CANCELLED)
BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Job:
    """A look that is due. The times are as they were found: what somebody asks for meanwhile changes one of them."""

    target: Target
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


def name_of(group: EndpointGroup) -> str:
    """Return the name that an endpoint group publishes."""
    return group.dns_record_name or group.domain


def group_context(config_id: str) -> str:
    """Name the place of an endpoint group's sealed options."""
    return f"endpoint_groups.dns_options:{config_id}"


def follow(tx: Tx, vault: Vault, config_id: str, actor: str, reason: str) -> None:
    """Have a sync for the name that the config's endpoint group publishes, and begin to withdraw all others."""
    group = group_rows.get(tx, config_id)
    found = False
    for sync in rows.of_config(tx, config_id):
        if _is_of(sync, group):
            found = True
            _take_up(vault, sync, group, actor, reason)
        elif not sync.withdrawn:
            _withdraw(tx, sync, actor, reason)
        tx.wake("dns", sync.id)
    if group is not None and group.dns_provider and not found:
        sync = _new(group, actor, reason)
        sync.options_sealed = _options_for(vault, group, sync.id)
        rows.add(tx, sync)
        tx.wake("dns", sync.id)


def _is_of(sync: DnsSync, group: EndpointGroup | None) -> bool:
    return group is not None and (sync.provider, sync.zone, sync.name) == (
        group.dns_provider,
        group.dns_zone or "",
        name_of(group),
    )


def _new(group: EndpointGroup, actor: str, reason: str) -> DnsSync:
    now = clock.now()
    return DnsSync(
        id=clock.new_id(),
        config_id=group.config_id,
        provider=group.dns_provider or "",
        zone=group.dns_zone or "",
        name=name_of(group),
        options_sealed=None,
        withdrawn=False,
        state=PENDING,
        reason=reason,
        requested_by=actor,
        attempts=0,
        error=None,
        error_class=None,
        next_try_at=None,
        plan_id=None,
        plan={},
        approved_plan_id=None,
        published=[],
        decided_at=now,
        checked_at=None,
        published_at=None,
        created_at=now,
    )


def _options_for(vault: Vault, group: EndpointGroup, sync_id: str) -> bytes | None:
    if group.dns_options_sealed is None:
        return None
    return vault.seal(vault.open(group.dns_options_sealed, group_context(group.config_id)), _context(sync_id))


def _context(sync_id: str) -> str:
    return f"dns_syncs.options:{sync_id}"


def _take_up(vault: Vault, sync: DnsSync, group: EndpointGroup | None, actor: str, reason: str) -> None:
    """Begin again with what was saved just now: perhaps it mends what kept the name from being published."""
    if group is not None:
        sync.options_sealed = _options_for(vault, group, sync.id)
    sync.withdrawn = False
    _undecided(sync, actor, reason)


def _undecided(sync: DnsSync, actor: str, reason: str) -> None:
    sync.state, sync.reason, sync.requested_by = PENDING, reason, actor
    sync.decided_at, sync.next_try_at = clock.now(), None


def _withdraw(tx: Tx, sync: DnsSync, actor: str, reason: str) -> None:
    if sync.plan.get("mode") in {Mode.UPSERT_ONLY, Mode.DRY_RUN}:
        # Records are not ours to delete in this mode, and there is nothing else to do at the name.
        rows.remove(tx, sync)
        if sync.published:
            record(tx, sync, "dns_left", actor, left=sync.published, reason=f"{reason}; the mode forbids to delete")
        return
    sync.withdrawn = True
    _undecided(sync, actor, reason)


def record(tx: Tx, sync: DnsSync, action: str, actor: str, **details: Any) -> None:
    """Add to the history of a name."""
    about = {"name": sync.name, "provider": sync.provider}
    audit.record(tx, actor, action, "endpoint_group", sync.config_id, **about, **details)


def is_idle(tx: Tx, sync_id: str) -> Decision | None:
    """Return what to wait for where nothing is due and nothing new was decided; None: call `decide`."""
    sync = rows.get(tx, sync_id)
    if sync is None:
        return Decision()
    wish = _wish(tx, sync)
    if (wish.group is None) is not sync.withdrawn or _differs(sync, wish) or sync.plan.get("note") != wish.listed.note:
        return None
    return _wait(sync)


def _differs(sync: DnsSync, wish: _Wish) -> bool:
    known = {key: sync.plan.get(key, []) for key in ("wanted", "ttl", "mode")}
    return not sync.withdrawn and known != wish.summary


def _wait(sync: DnsSync) -> Decision | None:
    if sync.state == CANCELLED:
        return Decision()
    left = (sync.next_try_at or 0.0) - clock.now()
    return Decision(wait_s=left) if left > 0 else None


def _wish(tx: Tx, sync: DnsSync) -> _Wish:
    group = group_rows.get(tx, sync.config_id)
    if group is None or not _is_of(sync, group):
        return _Wish(None, Listed(()))
    return _Wish(group, _listed(tx, group))


def _listed(tx: Tx, group: EndpointGroup) -> Listed:
    return listed(
        servers.of_config(tx, group.config_id),
        servers.floating(tx, group.config_id),
        only_healthy=group.publish_only_healthy,
        min_nodes=group.min_nodes,
    )


def decide(tx: Tx, vault: Vault, sync_id: str, rules: Dns) -> Decision:
    """Write down what is wanted of a name, where that is new, and return the look that is due."""
    sync = rows.get(tx, sync_id)
    if sync is None:
        return Decision()
    wish = _wish(tx, sync)
    if wish.group is None and not sync.withdrawn:
        _withdraw(tx, sync, audit.PANEL, "its endpoint group is gone")
        if not sync.withdrawn:
            return Decision()
    elif wish.group is not None and (sync.withdrawn or _differs(sync, wish)):
        sync.withdrawn = False
        _decided(tx, sync, wish, rules)
    sync.plan = {**sync.plan, "note": wish.listed.note}
    waiting = _wait(sync)
    if waiting is not None:
        return waiting
    return Decision(Job(_target(tx, vault, sync, wish, rules), sync.decided_at, sync.next_try_at))


def _decided(tx: Tx, sync: DnsSync, wish: _Wish, rules: Dns) -> None:
    now, first = clock.now(), not sync.plan
    before, after = set(sync.published), set(wish.listed.addresses)
    sync.plan = {**sync.plan, **wish.summary}
    if not first:
        sync.decided_at = now
        sync.reason, sync.requested_by = servers.reason(tx, sync.config_id, before, after)
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


def _target(tx: Tx, vault: Vault, sync: DnsSync, wish: _Wish, rules: Dns) -> Target:
    ours = _mark(tx, sync.config_id)
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
        verified=sync.published_at is not None and sync.published_at >= sync.decided_at,
        expected=frozenset() if sync.withdrawn else servers.removed_by_people(tx, sync.config_id),
        allowed_plan_id=sync.approved_plan_id,
    )


def _published_elsewhere(tx: Tx, sync: DnsSync) -> set[str]:
    """Return what the same name lists through another provider or zone: it may be the same one in truth."""
    group = group_rows.get(tx, sync.config_id)
    if group is None or not group.dns_provider or name_of(group) != sync.name:
        return set()
    return set(_listed(tx, group).addresses)


def target(tx: Tx, vault: Vault, sync: DnsSync, rules: Dns) -> tuple[Target, str | None]:
    """Return what a name is to be, for somebody who wants to see what would be done, and what there is to say of it."""
    wish = _wish(tx, sync)
    return _target(tx, vault, sync, wish, rules), wish.listed.note


def opened(vault: Vault, sync: DnsSync) -> Mapping[str, Any]:
    """Return a sync's options with their secrets."""
    if sync.options_sealed is None:
        return {}
    options: dict[str, Any] = json.loads(vault.open(sync.options_sealed, _context(sync.id)))
    return options


def _mark(tx: Tx, config_id: str) -> str:
    return mark(rows.panel_id(tx) or "panel", config_id)


def withdrawn_at(tx: Tx, config_id: str, addresses: Collection[str]) -> float | None:
    """Return when a config's names were last seen to list what they should, at 0 where none is kept by us.

    None: some of `addresses`, which are to go, are listed still.
    """
    latest = 0.0
    for sync in rows.of_config(tx, config_id):
        if sync.withdrawn or sync.state == CANCELLED or sync.plan.get("mode") != Mode.SYNC:
            continue
        if set(addresses) & set(sync.published):
            return None
        latest = max(latest, sync.published_at or 0.0)
    return latest
