"""A node is down: its peers get new homes and their sessions are taken over, as an operation that anybody can watch."""

from wgfleet.panel import clock
from wgfleet.panel.services import audit, moves, operations
from wgfleet.panel.services.assignments import subject
from wgfleet.panel.services.desired import SERVING
from wgfleet.panel.services.moves import LEFT
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as rows
from wgfleet.panel.store.tables import Assignment, Operation

FAILOVER = "failover"
WINDOW_S = 60.0  # for clients that do not answer at once: two of WireGuard's keepalives and a retry


def start(tx: Tx, assignment: Assignment, reason: str) -> Operation:
    """Begin to replace a node in a config; one that is under way already is returned."""
    about = subject(assignment.config_id, assignment.node_id)
    earlier = rows.newest(tx, FAILOVER, about)
    if earlier is not None and earlier.finished_at is None:
        return earlier
    return operations.start(
        tx,
        "panel",
        FAILOVER,
        about,
        config_id=assignment.config_id,
        node_id=assignment.node_id,
        options={"drain_window_s": WINDOW_S, "reason": reason},
    )


def over(tx: Tx, operation_id: str) -> bool:
    """Tell whether there is nothing to do any more: ended, or the node is being removed, which does the same work."""
    operation = operations.get(tx, operation_id)
    assignment = assignment_rows.get(tx, operation.config_id or "", operation.node_id or "")
    return operation.finished_at is not None or assignment is None or assignment.phase != SERVING


def close(tx: Tx, operation_id: str) -> None:
    """End it with what came of it."""
    operation = operations.get(tx, operation_id)
    if operation.finished_at is not None:
        return
    rows.settle_moves(tx, operation_id, [move.peer_id for move, _ in rows.pending(tx, operation_id)], LEFT)
    moves.release(tx, operation_id)
    counts = moves.counts(tx, operation_id)
    result = {
        "peers_migrated": rows.rehomed(tx, operation_id),
        "sessions_taken_over": counts["taken_over"],
        "left_behind": counts["left"],
        "seconds": round(clock.now() - operation.created_at, 3),
    }
    operations.finish(tx, operation_id, operations.SUCCEEDED, result)
    audit.record(tx, "panel", "failed_over", "config_node", operation.subject, **result)
