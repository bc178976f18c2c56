"""Failovers: a node is down, its peers get new homes, and other nodes take their sessions over."""

from wgfleet.panel.domain.moves import MoveView
from wgfleet.panel.domain.operations import FailoverOptions, OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit, operations
from wgfleet.panel.services.moves import steps
from wgfleet.panel.services.operations import subject
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Assignment, Operation

WINDOW_S = 60.0  # for clients that do not answer at once: two of WireGuard's keepalives and a retry


def start(tx: Tx, assignment: Assignment, reason: str) -> Operation:
    """Begin to replace a node in a config; one that is under way already is returned."""
    about = subject(assignment.config_id, assignment.node_id)
    earlier = operation_rows.newest(tx, OperationKind.FAILOVER, about)
    if earlier is not None and earlier.finished_at is None:
        return earlier
    return operations.start(
        tx,
        audit.PANEL,
        OperationKind.FAILOVER,
        about,
        config_id=assignment.config_id,
        node_id=assignment.node_id,
        options=FailoverOptions(drain_window_s=WINDOW_S, reason=reason),
    )


def view(tx: Tx, operation_id: str) -> MoveView:
    """Read where a failover stands."""
    node_id = operations.get(tx, operation_id).node_id or ""
    return steps.view(tx, operation_id, over=over(tx, operation_id), sources=[node_id])


def over(tx: Tx, operation_id: str) -> str | None:
    """Say why there is nothing more to move: the node is being removed, which does the same work. Else None."""
    operation = operations.get(tx, operation_id)
    assignment = assignment_rows.get(tx, operation.config_id or "", operation.node_id or "")
    return None if assignment is not None and assignment.phase == Phase.SERVING else steps.REMOVING


def close(tx: Tx, operation_id: str) -> None:
    """End it; the nodes that lost sessions may have those peers again."""
    operation = operations.get(tx, operation_id)
    if operation.finished_at is None:
        result = steps.finish(tx, operation_id, over(tx, operation_id))
        audit.record(tx, audit.PANEL, "failed_over", "config_node", operation.subject, **result)
