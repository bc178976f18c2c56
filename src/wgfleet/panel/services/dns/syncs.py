"""The rows of published names: which there are, as endpoint groups say, and what is told of each.

What a name is to list, and when it is looked at, is for `decisions`; what came of a look for `looks`.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain.dns.listing import Mode
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import DnsSync, EndpointGroup
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault

PENDING, SYNCED, FAILING = "pending", "synced", "failing"
CONFLICT, APPROVAL, CANCELLED = "conflict", "approval", "cancelled"
STATES = (PENDING, SYNCED, FAILING, CONFLICT, APPROVAL, CANCELLED)
BLOCKED = "blocked"


def name_of(group: EndpointGroup) -> str:
    """Return the name that an endpoint group publishes."""
    return group.dns_record_name or group.domain


def follow(tx: Tx, vault: Vault, config_id: str, actor: str, reason: str) -> None:
    """Have a sync for the name that the config's endpoint group publishes, and begin to withdraw all others."""
    group = endpoint_group_rows.get(tx, config_id)
    found = False
    for sync in dns_rows.of_config(tx, config_id):
        tx.wake(Topic.DNS, sync.id)
        if is_of(sync, group):
            found = True
            _take_up(vault, sync, group, actor, reason)
            continue
        if not sync.withdrawn:
            withdraw(tx, sync, actor, reason)
        elif sync.error_class != BLOCKED:
            sync.next_try_at = None
        if group is not None and (sync.provider, sync.zone) == (group.dns_provider, group.dns_zone or ""):
            # It is the same place, and the credential of before may have been taken away.
            sync.options_sealed = _options_for(vault, group, sync.id)
    if group is not None and group.dns_provider and not found:
        sync = _new(group, actor, reason)
        sync.options_sealed = _options_for(vault, group, sync.id)
        dns_rows.add(tx, sync)
        tx.wake(Topic.DNS, sync.id)


def is_of(sync: DnsSync, group: EndpointGroup | None) -> bool:
    """Tell whether a sync is of the name that a group publishes."""
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
    options = sealed.unseal(vault, EndpointGroup.dns_options_sealed, group)
    return sealed.seal(vault, DnsSync.options_sealed, sync_id, options)


def _take_up(vault: Vault, sync: DnsSync, group: EndpointGroup | None, actor: str, reason: str) -> None:
    """Begin again with what was saved just now: perhaps it mends what kept the name from being published."""
    if group is not None:
        sync.options_sealed = _options_for(vault, group, sync.id)
    sync.withdrawn = False
    _undecided(sync, actor, reason)


def _undecided(sync: DnsSync, actor: str, reason: str) -> None:
    sync.state, sync.reason, sync.requested_by, sync.next_try_at = PENDING, reason, actor, None
    decided(sync)


def decided(sync: DnsSync) -> None:
    """Note that what is wanted changed just now: whatever the name was seen to be, it was before."""
    sync.decided_at = clock.now()
    if sync.published_at is not None and sync.published_at >= sync.decided_at:
        # The clock was set back since. What differs would else be taken for somebody else's doing.
        sync.published_at = math.nextafter(sync.decided_at, 0.0)


def withdraw(tx: Tx, sync: DnsSync, actor: str, reason: str) -> None:
    """Begin to take away what is ours at a name, or drop the sync where its mode forbids that."""
    if sync.plan.get("mode") in {Mode.UPSERT_ONLY, Mode.DRY_RUN}:
        # Records are not ours to delete in this mode, and there is nothing else to do at the name.
        dns_rows.remove(tx, sync)
        if sync.published:
            record(tx, sync, "dns_left", actor, left=sync.published, reason=f"{reason}; the mode forbids to delete")
        return
    sync.withdrawn = True
    _undecided(sync, actor, reason)


def record(tx: Tx, sync: DnsSync, action: str, actor: str, **details: Any) -> None:
    """Add to the history of a name."""
    about = {"name": sync.name, "provider": sync.provider}
    audit.record(tx, actor, action, "endpoint_group", sync.config_id, **about, **details)


def opened(vault: Vault, sync: DnsSync) -> Mapping[str, Any]:
    """Return a sync's options with their secrets."""
    if sync.options_sealed is None:
        return {}
    options: dict[str, Any] = json.loads(sealed.unseal(vault, DnsSync.options_sealed, sync))
    return options
