"""The end of operations before their time: which can be cancelled, how long, and what is undone."""

import contextlib

from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, generations, operations
from wgfleet.panel.services.access import standing
from wgfleet.panel.services.fleet import cordons, node_groups, nodes
from wgfleet.panel.services.moves import group_drain
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Operation
from wgfleet.protocol.reasons import Reason

CANCELLED = (OperationKind.REMOVE_NODE, OperationKind.DRAIN, OperationKind.REBALANCE, OperationKind.MOVE_PEERS)
"""Kinds of moves that can be cancelled, as long as nobody would be left without a node."""


def cancel(tx: Tx, actor: str, operation: Operation, because: str | None = None) -> None:
    """Have an operation end soon, as failed, with a reason that says by whom, and because of what if that is given.

    A removal is undone: its node serves on. A drained node, or group, is uncordoned, which ends all its drains. Peers
    that have a new home keep it.
    """
    if operation.config_id is not None:
        generations.hold(tx, operation.config_id)
    operation_rows.lock(tx, operation)  # it may have ended since it was read
    check(tx, operation)
    operation_rows.change(tx, operation.id, cancelled_by=f"{actor}, as {because}" if because else actor)
    if operation.kind is OperationKind.DRAIN:
        cordons.uncordon(tx, actor, nodes.get(tx, operation.node_id or ""))
    elif operation.kind is OperationKind.DRAIN_GROUP:
        group_drain.uncordon(tx, actor, node_groups.get(tx, operation.subject))
    audit.record(
        tx, actor, "cancelled", "operation", operation.id, kind=operation.kind, subject=operation.subject,
        **({"because": because} if because else {}),
    )  # fmt: skip
    operations.wake(tx, operation)


def stop_if_due(tx: Tx, operation: Operation) -> None:
    """Cancel an operation whose requester may not do this any more, if it can be cancelled."""
    because = standing.of_operation(tx, operation)
    if because is not None and operation.cancelled_by is None:
        with contextlib.suppress(Conflict):  # what cannot be undone is brought to its end
            cancel(tx, audit.PANEL, operation, because)


def is_due(tx: Tx, operation: Operation) -> bool:
    """Tell whether `stop_if_due` has something to do."""
    if operation.finished_at is not None or operation.cancelled_by is not None:
        return False
    if standing.of_operation(tx, operation) is None:
        return False
    try:
        check(tx, operation)
    except Conflict:
        return False
    return True


def check(tx: Tx, operation: Operation) -> None:
    """Raise `Conflict` where an operation cannot be cancelled any more, or never."""
    if operation.finished_at is not None:
        raise Conflict(
            Reason("operation {operation} has ended already: {state}", operation=operation.id, state=operation.state)
        )
    if operation.kind in {OperationKind.FAILOVER, OperationKind.MOVE_ADDRESS}:
        raise Conflict(
            Reason("its clients would be left without a node: failovers and moves of an address are not cancelled")
        )
    if operation.kind is OperationKind.REMOVE_NODE:
        _check_removal(tx, operation)


def _check_removal(tx: Tx, operation: Operation) -> None:
    """Refuse to undo a removal whose node deletes its interface by now, or is dead."""
    config_id, node_id = operation.config_id or "", operation.node_id or ""
    assignment = assignment_rows.get(tx, config_id, node_id)
    hint = Hint(HintCode.ASSIGN_NODE)
    if assignment is None or assignment.phase != Phase.DRAINING:
        raise Conflict(
            Reason("the node deletes its interface by now; wait for the end, then it can be assigned again"), hint
        )
    if not assignment.health.in_use:
        raise Conflict(
            Reason(
                "the node is {health}: the removal is what brings its clients to other nodes; wait for the "
                "end, then it can be assigned again",
                health=assignment.health,
            ),
            hint,
        )
