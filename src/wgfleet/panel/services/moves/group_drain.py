"""Group drains: all nodes of a group are emptied, one after the other, each by drains of its own.

The nodes are cordoned at once, so that no peer moves twice. One that is uncordoned or leaves the group is passed over.
"""

from collections.abc import Iterable, Mapping, Sequence

from wgfleet.panel import clock
from wgfleet.panel.domain.operations import (
    GroupDrainOptions,
    GroupDrainProgress,
    GroupDrainResult,
    MoveResult,
    OperationKind,
    OperationState,
)
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import audit, operations
from wgfleet.panel.services.fleet import cordons
from wgfleet.panel.services.moves import drain, relays, steps
from wgfleet.panel.store import Tx
from wgfleet.panel.store import node_groups as node_group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Node, NodeGroup, Operation
from wgfleet.protocol.reasons import Reason


def start(
    tx: Tx,
    actor: str,
    group: NodeGroup,
    *,
    grace_s: float,
    force: bool = False,
    drain_window_s: float | None = None,
    relay_s: float = 0.0,
) -> Operation:
    """Cordon the nodes of a group and begin to empty them; asked again while it runs, it is the same operation.

    `force`, `drain_window_s` and `relay_s`: as for the drain of a node. Without force nothing is begun that cannot be
    ended: all nodes must have room elsewhere.
    """
    earlier = operation_rows.newest(tx, OperationKind.DRAIN_GROUP, group.id)
    if earlier is not None and earlier.finished_at is None:
        relays.check_same(earlier, relay_s)
        return earlier
    nodes = [node for node in node_group_rows.nodes(tx, group.id) if not node.witness]
    if not nodes:
        raise Conflict(
            Reason("node group {group!r} has no nodes; put some in it, or drain nodes by themselves", group=group.name)
        )
    if not force:
        drain.check_room(tx, nodes)
    for node in nodes:
        cordons.cordon(tx, actor, node)
    options = GroupDrainOptions(
        force=force,
        drain_window_s=drain_window_s,
        grace_s=grace_s,
        nodes=tuple(node.id for node in nodes),
        relay_s=relay_s or None,
    )
    operation = operations.start(
        tx, actor, OperationKind.DRAIN_GROUP, group.id, config_id=None, node_id=None, options=options
    )
    audit.record(
        tx, actor, "drain_started", "node_group", group.id,
        name=group.name, nodes=[node.name for node in nodes], operation=operation.id, force=force,
    )  # fmt: skip
    return operation


def uncordon(tx: Tx, actor: str, group: NodeGroup) -> Sequence[Node]:
    """Let the nodes of a group have homes again; what is left of its drain does not happen. Returns the nodes."""
    nodes = node_group_rows.nodes(tx, group.id)
    for node in nodes:
        cordons.uncordon(tx, actor, node)
    operation = operation_rows.newest(tx, OperationKind.DRAIN_GROUP, group.id)
    if operation is not None and operation.finished_at is None:
        operations.wake(tx, operation)
    return nodes


def step(tx: Tx, operation_id: str) -> bool:
    """Begin with the next node once the one before is empty, or end; False once it has ended."""
    operation = operations.get(tx, operation_id)
    operation_rows.lock(tx, operation)  # so that it is not cancelled between the look and the next node
    if operation.finished_at is not None:
        return False
    options = operations.options_of(operation, GroupDrainOptions)
    begun = operations.progress_of(operation, GroupDrainProgress).drains or {}
    if any(operations.get(tx, drain_id).finished_at is None for drains in begun.values() for drain_id in drains):
        return True
    for node_id in options.nodes if operation.cancelled_by is None else ():
        node = node_rows.find(tx, node_id)
        if node_id in begun or node is None or not node.cordoned or node.group_id != operation.subject:
            continue
        started = drain.start(
            tx,
            operation.requested_by,
            node,
            grace_s=options.grace_s,
            force=options.force,
            drain_window_s=options.drain_window_s,
            relay_s=options.relay_s or 0.0,
        )
        begun = {**begun, node_id: tuple(each.id for each in started)}
        progress = GroupDrainProgress(drains=begun, node=node.name, nodes_begun=len(begun), nodes=len(options.nodes))
        operations.advance(tx, operation_id, "drain", progress)
        return True
    _close(tx, operation, options, begun)
    return False


def _close(tx: Tx, operation: Operation, options: GroupDrainOptions, begun: Mapping[str, Sequence[str]]) -> None:
    """End it with the sums over its nodes, and why some were not drained."""
    ended = {node_id: [operations.get(tx, drain_id) for drain_id in drains] for node_id, drains in begun.items()}
    reasons: dict[str, str] = {}
    passed_over: str = Reason("the node was uncordoned, or is not in the group any more")
    if operation.cancelled_by is not None:
        passed_over = Reason("cancelled by {who}", who=operation.cancelled_by)
    for node_id in options.nodes:
        if node_id not in begun:
            reasons[_name(tx, node_id)] = passed_over
        elif failed := [each for each in ended[node_id] if each.state != OperationState.SUCCEEDED]:
            reasons[_name(tx, node_id)] = "; ".join(_result(each).reason or each.state for each in failed)
    results = [_result(each) for drains in ended.values() for each in drains]
    result = GroupDrainResult(
        peers_migrated=sum(each.peers_migrated for each in results),
        sessions_taken_over=sum(each.sessions_taken_over for each in results),
        left_behind=sum(each.left_behind for each in results),
        left=_names(each.left for each in results),
        relayed=_names(each.relayed for each in results),
        relay_ends_at=max((each.relay_ends_at for each in results if each.relay_ends_at), default=None),
        seconds=round(clock.now() - operation.created_at, 3),
        nodes=len(begun),
        not_drained=reasons or None,
    )
    state = OperationState.FAILED if reasons else OperationState.SUCCEEDED
    operations.finish(tx, operation.id, state, result)
    audit.record(
        tx, operation.requested_by, "drained", "node_group", operation.subject,
        state=state, **operations.encode(result),
    )  # fmt: skip


def _names(found: Iterable[Sequence[str] | None]) -> tuple[str, ...] | None:
    return tuple(sorted({name for names in found for name in names or ()})[: steps.NAMED]) or None


def _result(drain_of_node: Operation) -> MoveResult:
    return operations.result_of(drain_of_node, MoveResult)


def _name(tx: Tx, node_id: str) -> str:
    node = node_rows.find(tx, node_id)
    return node_id if node is None else node.name
