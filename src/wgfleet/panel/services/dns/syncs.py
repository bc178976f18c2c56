"""Syncs, the rows of published names: made and withdrawn as endpoint groups say, and the history of each.

Which records a name should have, and when its sync is due, is in `desired`; the result of a sync in `results`.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain.dns.listing import DnsMode
from wgfleet.panel.domain.dns.states import ErrorClass, SyncState
from wgfleet.panel.services import audit, generations
from wgfleet.panel.services.dns import published_names
from wgfleet.panel.services.dns.published_names import is_of
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store.tables import DnsSync, EndpointGroup
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason


def follow(tx: Tx, vault: Vault, config_id: str, actor: str, reason: str) -> None:
    """Make or restart the syncs of the names that the config's endpoint group publishes, and withdraw all others."""
    group = endpoint_group_rows.get(tx, config_id)
    found: set[str] = set()
    for sync in dns_rows.of_config(tx, config_id):
        tx.wake(Topic.DNS, sync.id)
        if is_of(tx, sync, group):
            found.add(sync.name)
            _resume(vault, sync, group, actor, reason)
            continue
        if not sync.withdrawn:
            withdraw(tx, sync, actor, reason)
        elif sync.error_class is not ErrorClass.BLOCKED:
            sync.next_try_at = None
        if group is not None and (sync.provider, sync.zone) == (group.dns_provider, group.dns_zone or ""):
            # The zone is the same, and the earlier credential may have been revoked.
            sync.options_sealed = _options_for(vault, group, sync.id)
    if group is not None:
        _begin(tx, vault, group, found, actor, reason)


def _begin(
    tx: Tx, vault: Vault, group: EndpointGroup, present: Collection[str], actor: str, reason: str
) -> list[DnsSync]:
    """Make the syncs of those names of a group that are not present, and return them."""
    names = published_names.of_group(tx, group) if group.dns_provider else []
    made = [_new(group, name, actor, reason) for name in names if name not in present]
    for sync in made:
        sync.options_sealed = _options_for(vault, group, sync.id)
        dns_rows.add(tx, sync)
        tx.wake(Topic.DNS, sync.id)
    return made


def lacking(tx: Tx, config_ids: Collection[str]) -> list[str]:
    """Return those of some configs of which a node has come to serve, and has no name yet."""
    found = []
    for config_id in config_ids:
        group = endpoint_group_rows.get(tx, config_id)
        if group is not None and group.dns_provider and published_names.is_of_nodes(tx, config_id):
            present = _present(tx, group)
            if any(name not in present for name in published_names.of_group(tx, group)):
                found.append(config_id)
    return found


def _present(tx: Tx, group: EndpointGroup) -> set[str]:
    where = group.dns_provider, group.dns_zone or ""
    return {sync.name for sync in dns_rows.of_config(tx, group.config_id) if (sync.provider, sync.zone) == where}


def begin_for_nodes(tx: Tx, vault: Vault, config_id: str) -> None:
    """Begin to publish the names of nodes that have come to serve an independent config."""
    generations.hold(tx, config_id)
    group = endpoint_group_rows.get(tx, config_id)
    if group is not None:
        _begin(tx, vault, group, _present(tx, group), audit.PANEL, Reason("the node serves"))


def _new(group: EndpointGroup, name: str, actor: str, reason: str) -> DnsSync:
    now = clock.now()
    return DnsSync(
        id=clock.new_id(),
        config_id=group.config_id,
        provider=group.dns_provider or "",
        zone=group.dns_zone or "",
        name=name,
        options_sealed=None,
        withdrawn=False,
        state=SyncState.PENDING,
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


def _resume(vault: Vault, sync: DnsSync, group: EndpointGroup | None, actor: str, reason: str) -> None:
    """Restart with the options just saved: they may fix what kept the name from being published."""
    if group is not None:
        sync.options_sealed = _options_for(vault, group, sync.id)
    sync.withdrawn = False
    _restart(sync, actor, reason)


def _restart(sync: DnsSync, actor: str, reason: str) -> None:
    sync.state, sync.reason, sync.requested_by, sync.next_try_at = SyncState.PENDING, reason, actor, None
    stamp_change(sync)


def stamp_change(sync: DnsSync) -> None:
    """Set the time of the last change to now: what was observed at the name so far is older."""
    sync.decided_at = clock.now()
    if sync.published_at is not None and sync.published_at >= sync.decided_at:
        # The clock was set back since. Otherwise a difference would be taken for drift.
        sync.published_at = math.nextafter(sync.decided_at, 0.0)


def withdraw(tx: Tx, sync: DnsSync, actor: str, reason: str) -> None:
    """Begin to delete our records at a name, or drop the sync if its mode forbids deleting."""
    if sync.plan.get("mode") in {DnsMode.UPSERT_ONLY, DnsMode.DRY_RUN}:
        # In this mode records may not be deleted, and nothing else is left to do at the name.
        dns_rows.remove(tx, sync)
        if sync.published:
            reason = Reason("{reason}; the mode forbids deleting", reason=reason)
            record_history(tx, sync, "dns_left", actor, left=sync.published, reason=reason)
        return
    sync.withdrawn = True
    _restart(sync, actor, reason)


def record_history(tx: Tx, sync: DnsSync, action: str, actor: str, **details: Any) -> None:
    """Add an entry to the history of a name."""
    about = {"name": sync.name, "provider": sync.provider}
    audit.record(tx, actor, action, "endpoint_group", sync.config_id, **about, **details)


def open_options(vault: Vault, sync: DnsSync) -> Mapping[str, Any]:
    """Return a sync's options with their secrets."""
    return sealed.unseal_options(vault, DnsSync.options_sealed, sync)
