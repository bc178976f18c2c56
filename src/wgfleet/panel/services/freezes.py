"""Freezes as rows: nodes that do not answer and are left in use until they do, or until a person says they are down.

The watch writes them; an administrator approves, once and for the nodes that were listed. And somebody may pause the
watch for a config.
"""

from collections.abc import Sequence

from wgfleet.panel import clock
from wgfleet.panel.errors import Conflict, NotFound
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx
from wgfleet.panel.store import health as health_rows
from wgfleet.panel.store.tables import Config, HealthFreeze
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason

APPROVED_FOR_S = 300.0

_ENTITY = "health_freeze"


def current(tx: Tx) -> HealthFreeze | None:
    """Return the freeze that is on, or None."""
    return health_rows.freeze(tx)


def approved(tx: Tx) -> frozenset[str]:
    """Return the nodes that a person said are down, as long as that holds."""
    row = health_rows.freeze(tx)
    if row is None or row.approved_until is None or clock.now() >= row.approved_until:
        return frozenset()
    return frozenset(row.approved_nodes)


def begin(tx: Tx, reason: str, nodes: Sequence[str]) -> None:
    """Write that nodes are left in use though they do not answer, or that the reason or the list is another."""
    row = health_rows.freeze(tx)
    if row is None:
        row = HealthFreeze(id=clock.new_id(), since=clock.now(), reason=reason, nodes=list(nodes), approved_nodes=[])
        health_rows.add_freeze(tx, row)
        audit.record(tx, audit.PANEL, "frozen", _ENTITY, row.id, reason=reason, nodes=list(nodes))
    elif row.reason == reason and row.nodes == list(nodes):
        return
    row.reason, row.nodes = reason, list(nodes)
    tx.wake(Topic.FREEZE, row.id)


def end(tx: Tx) -> None:
    """Write that it is over: they answer again, or were taken out."""
    row = health_rows.freeze(tx)
    if row is not None:
        health_rows.end_freeze(tx)
        audit.record(tx, audit.PANEL, "unfrozen", _ENTITY, row.id)
        tx.wake(Topic.FREEZE, row.id)


def approve(tx: Tx, actor: str, freeze_id: str) -> HealthFreeze:
    """Say that the nodes of a freeze are down: those that nobody reaches are taken out of use, once."""
    row = health_rows.freeze(tx)
    if row is None:
        raise NotFound(Reason("no node waits for an approval: none is left in use that does not answer"))
    if row.id != freeze_id:
        raise Conflict(
            Reason("the freeze is another by now ({row}): look at it, and approve that", row=row.id), field="id"
        )
    row.approved_nodes, row.approved_by = list(row.nodes), actor
    row.approved_until = clock.now() + APPROVED_FOR_S
    audit.record(tx, actor, "approved", _ENTITY, row.id, nodes=row.nodes, approved_until=row.approved_until)
    tx.wake(Topic.FREEZE, row.id)
    return row


def pause(tx: Tx, actor: str, config: Config) -> None:
    """Have the watch take no node of a config out of use: no failover, no handover of addresses, no change of DNS."""
    if config.paused_since is None:
        config.paused_since, config.paused_by = clock.now(), actor
        audit.record(tx, actor, "automation_paused", "config", config.id)
        tx.wake(Topic.CONFIG, config.id)


def resume(tx: Tx, actor: str, config: Config) -> None:
    """Have the watch act on a config again; what is dead by then is replaced at once."""
    if config.paused_since is not None:
        audit.record(tx, actor, "automation_resumed", "config", config.id, paused_since=config.paused_since)
        config.paused_since = config.paused_by = None
        tx.wake(Topic.CONFIG, config.id)


def spend(tx: Tx, nodes: Sequence[str]) -> None:
    """Note that nodes were taken out by an approval: it is used up, and the others need a new one."""
    row = health_rows.freeze(tx)
    if row is not None and row.approved_until is not None:
        audit.record(tx, audit.PANEL, "approval_used", _ENTITY, row.id, by=row.approved_by, nodes=list(nodes))
        row.approved_nodes, row.approved_by, row.approved_until = [], None, None
        tx.wake(Topic.FREEZE, row.id)
