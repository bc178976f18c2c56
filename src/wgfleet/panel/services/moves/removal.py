"""What the removal of a node from a config writes, step by step. Each may be done again without harm."""

from wgfleet.panel import clock
from wgfleet.panel.domain.removal import RemovalStep, RemovalView
from wgfleet.panel.services import audit, backups, operations
from wgfleet.panel.services.configs import bump, probes_changed
from wgfleet.panel.services.dns import wanted
from wgfleet.panel.services.fleet.desired import REMOVED
from wgfleet.panel.services.floating import holders
from wgfleet.panel.services.moves import steps
from wgfleet.panel.services.moves.steps import LEFT, PENDING, PLACED
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import backups as backup_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Cleanup, Operation
from wgfleet.panel.vault import Vault

LONGEST_WITHDRAWAL_S = 3600.0
DELETED, OWED = "deleted", "cleanup owed"


def view(tx: Tx, operation_id: str) -> RemovalView:
    """Read where a removal stands."""
    operation = operations.get(tx, operation_id)
    config_id, node_id = operation.config_id or "", operation.node_id or ""
    assignment = assignment_rows.get(tx, config_id, node_id)
    tally = rows.tally(tx, operation_id)
    progress = operation.progress
    unsettled = tally.get((PENDING, True), 0) + tally.get((PENDING, False), 0)
    return RemovalView(
        finished=operation.finished_at is not None,
        has_backup=backup_rows.of_operation(tx, operation_id) is not None,
        placed=PLACED in progress,
        unsettled=unsettled,
        drain_ends_at=_drain_ends_at(tx, operation) if unsettled else progress.get(PLACED, 0.0),
        retired=assignment is None or assignment.phase == REMOVED,
        owed=assignment_rows.cleanup(tx, node_id, config_id) is not None,
        clean_ends_at=progress.get("clean_ends_at", 0.0),
    )


def _drain_ends_at(tx: Tx, operation: Operation) -> float:
    """Return when waiting for sessions that do not follow ends: the window counts from when the name lost the node.

    A client that comes back meanwhile would be sent here still. It is not waited for beyond an hour.
    """
    planned = float(operation.progress.get(PLACED, 0.0))
    window = float(operation.options["drain_window_s"])
    node = node_rows.find(tx, operation.node_id or "")
    if not planned or not window or node is None:
        return planned
    withdrawn_at = wanted.withdrawn_at(tx, operation.config_id or "", node.endpoint_addresses)
    longest = planned + LONGEST_WITHDRAWAL_S
    return longest if withdrawn_at is None else max(planned, min(longest, withdrawn_at + window))


def back_up(tx: Tx, vault: Vault, operation_id: str) -> None:
    """Save the interface and its peers."""
    r = steps.load(tx, operation_id)
    reason = f"node {r.node.name} is being removed from config {r.config.name}"
    backup = backups.create(
        tx, vault, audit.PANEL, r.config, r.node, r.assignment, reason=reason, operation_id=operation_id
    )
    operations.advance(tx, operation_id, RemovalStep.BACKUP, {**r.operation.progress, "backup_id": backup.id})


def retire(tx: Tx, operation_id: str, *, live_within_s: float, clean_within_s: float) -> None:
    """Give up on sessions that did not follow, and write down that the node has to delete its interface.

    Does nothing when a client has just come to this node and there is time left to move it.
    """
    r = steps.load(tx, operation_id)
    if steps.note_arrivals(tx, r, live_within_s) and clock.now() < r.operation.progress[PLACED]:
        return
    generation = bump(tx, r.config.id)
    rows.settle_moves(tx, operation_id, [move.peer_id for move, _ in rows.pending(tx, operation_id)], LEFT)
    assignment_rows.applied(tx, r.assignment.id, phase=REMOVED)
    holders.settle(tx, r.config.id, renew=True)
    if assignment_rows.cleanup(tx, r.node.id, r.config.id) is None:
        assignment_rows.owe(
            tx,
            Cleanup(
                id=clock.new_id(),
                node_id=r.node.id,
                config_id=r.config.id,
                interface=r.config.name,
                generation=generation,
                created_at=clock.now(),
            ),
        )
    progress = {**r.operation.progress, **steps.counts(tx, operation_id), "clean_ends_at": clock.now() + clean_within_s}
    operations.advance(tx, operation_id, RemovalStep.RETIRE, progress)
    tx.wake("node", r.node.id)


def close(tx: Tx, operation_id: str) -> None:
    """Take the assignment out, and end the operation with what came of it."""
    r = steps.load(tx, operation_id)
    generation = probes_changed(tx, r.config.id)
    peer_rows.bury(tx, r.config.id, [r.assignment.probe_public_key], generation, clock.now())
    owed = assignment_rows.cleanup(tx, r.node.id, r.config.id) is not None
    counts = steps.counts(tx, operation_id)
    session_rows.forget(tx, r.node.id, r.config.id)
    assignment_rows.remove(tx, r.assignment.id)
    # It was asked to delete its interface, and had its time: the address must not wait for it for ever.
    holders.gave_up(tx, r.config.id, r.node.id)
    result = {
        "peers_migrated": rows.rehomed(tx, operation_id),
        "sessions_taken_over": counts["taken_over"],
        "left_behind": counts["left"],
        "interface": OWED if owed else DELETED,
        "backup_id": r.operation.progress.get("backup_id"),
        "seconds": round(clock.now() - r.operation.created_at, 3),
    }
    operations.finish(tx, operation_id, operations.SUCCEEDED, result)
    audit.record(
        tx, r.operation.requested_by, "removed", "config_node", r.operation.subject,
        config=r.config.name, node=r.node.name, **result,
    )  # fmt: skip
    if owed:
        detail = "the node could not be reached; it deletes the interface when it returns"
        audit.record(tx, audit.PANEL, "cleanup_owed", "node", r.node.id, interface=r.config.name, detail=detail)
