"""Drains: a node is emptied as planned, without loss, and stays assigned."""

from collections.abc import Sequence
from dataclasses import replace

from wgfleet.panel import clock
from wgfleet.panel.domain.moves import MoveView
from wgfleet.panel.domain.operations import DrainOptions, OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit, generations, operations
from wgfleet.panel.services.fleet import cordons, placement
from wgfleet.panel.services.floating import brought, holders
from wgfleet.panel.services.moves import relays, steps
from wgfleet.panel.services.moves.floor import check_floor
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Config, Node, Operation
from wgfleet.protocol.reasons import Reason

BROUGHT_S = 15.0  # after a provider has brought an address, its clients are called for so long
NOT_GIVEN_UP = Reason(
    "the node has not confirmed that it gave its floating addresses up; "
    "if its agent is too old to report that, upgrade the agent"
)


def start(
    tx: Tx,
    actor: str,
    node: Node,
    *,
    grace_s: float,
    force: bool = False,
    drain_window_s: float | None = None,
    relay_s: float = 0.0,
) -> list[Operation]:
    """Cordon a node and begin to move its peers away, an operation for each config that it serves; it stays assigned.

    Asked again while it runs, they are the same operations. `force`: also where fewer than `min_nodes` are left or room
    is short; what no other node can have stays. `drain_window_s` and `relay_s`: as those of a removal.
    """
    served = sorted(assignment_rows.of_node(tx, node.id), key=lambda pair: pair[1].id)
    started: list[Operation] = []
    for assignment, config in served:
        if assignment.phase != Phase.SERVING:
            continue
        generations.bump(tx, config.id)
        about = operations.subject(config.id, node.id)
        earlier = operation_rows.newest(tx, OperationKind.DRAIN, about)
        if earlier is not None and earlier.finished_at is None:
            relays.check_same(earlier, relay_s)
            started.append(earlier)
            continue
        if not force:
            _check_config(tx, config, [node])
        window = steps.default_window(tx, config, grace_s) if drain_window_s is None else drain_window_s
        operation = operations.start(
            tx,
            actor,
            OperationKind.DRAIN,
            about,
            config_id=config.id,
            node_id=node.id,
            options=DrainOptions(force=force, drain_window_s=window, relay_s=relay_s or None),
        )
        audit.record(
            tx, actor, "drain_started", "config_node", about,
            config=config.name, node=node.name, operation=operation.id, force=force,
        )  # fmt: skip
        started.append(operation)
    cordons.cordon(tx, actor, node)
    return started


def active(tx: Tx, node: Node) -> int:
    """Count the drains of a node that have not ended."""
    return sum(
        operation.kind is OperationKind.DRAIN and operation.node_id == node.id
        for _, config in assignment_rows.of_node(tx, node.id)
        for operation in operation_rows.active_of(tx, config.id)
    )


def check_room(tx: Tx, leaving: Sequence[Node]) -> None:
    """Refuse to empty nodes where that leaves too few others in use, or too little room for the peers."""
    carried: dict[str, Config] = {}
    for node in leaving:
        carried |= {config.id: config for a, config in assignment_rows.of_node(tx, node.id) if a.phase == Phase.SERVING}
    for config in carried.values():
        _check_config(tx, config, leaving)


def _check_config(tx: Tx, config: Config, leaving: Sequence[Node]) -> None:
    others = [c for c in placement.candidates(tx, config.id, without={n.id for n in leaving}) if not c.cordoned]
    check_floor(tx, config, leaving, left=len(others), candidates=others, cordoned_count=False)


def view(tx: Tx, operation_id: str) -> MoveView:
    """Read where a drain stands."""
    operation = operations.get(tx, operation_id)
    node_id = operation.node_id or ""
    found = steps.view(tx, operation_id, over=over(tx, operation_id), sources=[node_id])
    still = len(brought.still_at(tx, operation.config_id or "", node_id))
    if not still:
        return found
    # Who came by such an address is called once it is with the next node.
    ends_at = max(found.drain_ends_at, clock.now() + BROUGHT_S)
    return replace(found, unsettled=found.unsettled + still, drain_ends_at=ends_at)


def place(tx: Tx, operation_id: str, *, live_within_s: float) -> None:
    """Give the node's peers new homes, and write down which sessions have to move; one transaction for all."""
    steps.place(tx, operation_id, live_within_s=live_within_s, stays=True)


def over(tx: Tx, operation_id: str) -> str | None:
    """Say why there is nothing more to move: the reason in words, or None while there is."""
    operation = operations.get(tx, operation_id)
    if operation.cancelled_by is not None:
        return Reason(
            "cancelled by {cancelled_by}; peers that have a new home keep it until a rebalance",
            cancelled_by=operation.cancelled_by,
        )
    assignment = assignment_rows.get(tx, operation.config_id or "", operation.node_id or "")
    node = node_rows.find(tx, operation.node_id or "")
    if assignment is None or assignment.phase != Phase.SERVING:
        return steps.REMOVING
    if not assignment.health.in_use:
        return Reason(
            "the node is {health}: {health_reason}", health=assignment.health, health_reason=assignment.health_reason
        )
    return None if node is not None and node.cordoned else Reason("the node was uncordoned")


def close(tx: Tx, operation_id: str) -> None:
    """End it, once the node has given its floating addresses up."""
    operation = operations.get(tx, operation_id)
    if operation.finished_at is not None:
        return
    reason = over(tx, operation_id)
    if reason is None:
        asked = operation.node_id in holders.leaving(tx, operation.config_id or "")
        holders.empty(tx, operation.config_id or "", operation.node_id or "")
        if operation.node_id in holders.leaving(tx, operation.config_id or ""):
            if asked:
                operations.explain_wait(tx, operation, NOT_GIVEN_UP)
            return
        if (late := brought.delay(tx, operation.config_id or "", operation.node_id)) is not None:
            operations.explain_wait(tx, operation, late)
            return
    else:
        brought.give_back(tx, operation.config_id or "", operation.node_id or "")
    result = steps.finish(tx, operation_id, reason)
    relays.wake(tx, operation)
    audit.record(
        tx, operation.requested_by, "drained", "config_node", operation.subject, state=operation.state, **result
    )
