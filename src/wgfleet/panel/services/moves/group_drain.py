"""All nodes of a group are emptied, one after the other: an operation that has a node's drains done, then the next's.

The nodes are cordoned at once, so that no peer moves twice. One that is uncordoned or leaves the group is passed over.
"""

from collections.abc import Sequence
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import audit, operations
from wgfleet.panel.services.fleet import cordons
from wgfleet.panel.services.moves import drain
from wgfleet.panel.services.operations import FAILED, SUCCEEDED
from wgfleet.panel.store import Tx
from wgfleet.panel.store import node_groups as node_group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Node, NodeGroup, Operation

DRAIN_GROUP = "drain_group"
DRAINS = "drains"  # in the progress: the operations of each node that was begun with, by its id


def start(
    tx: Tx, actor: str, group: NodeGroup, *, grace_s: float, force: bool = False, drain_window_s: float | None = None
) -> Operation:
    """Cordon the nodes of a group and begin to empty them; asked again while it runs, it is the same operation.

    `force` and `drain_window_s`: as for the drain of a node. Without force nothing is begun that cannot be ended: all
    nodes must have room elsewhere.
    """
    earlier = operation_rows.newest(tx, DRAIN_GROUP, group.id)
    if earlier is not None and earlier.finished_at is None:
        return earlier
    nodes = node_group_rows.nodes(tx, group.id)
    if not nodes:
        raise Conflict(f"node group {group.name!r} has no nodes; put some in it, or drain nodes by themselves")
    if not force:
        drain.check_room(tx, nodes)
    for node in nodes:
        cordons.cordon(tx, actor, node)
    options = {"force": force, "drain_window_s": drain_window_s, "grace_s": grace_s, "nodes": [n.id for n in nodes]}
    operation = operations.start(tx, actor, DRAIN_GROUP, group.id, config_id=None, node_id=None, options=options)
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
    operation = operation_rows.newest(tx, DRAIN_GROUP, group.id)
    if operation is not None and operation.finished_at is None:
        operations.wake(tx, operation)
    return nodes


def step(tx: Tx, operation_id: str) -> bool:
    """Begin with the next node once the one before is empty, or end; False once it has ended."""
    operation = operations.get(tx, operation_id)
    if operation.finished_at is not None:
        return False
    begun: dict[str, list[str]] = operation.progress.get(DRAINS, {})
    if any(operations.get(tx, drain_id).finished_at is None for drains in begun.values() for drain_id in drains):
        return True
    for node_id in operation.options["nodes"]:
        node = node_rows.find(tx, node_id)
        if node_id in begun or node is None or not node.cordoned or node.group_id != operation.subject:
            continue
        options = operation.options
        started = drain.drain(
            tx,
            operation.requested_by,
            node,
            grace_s=options["grace_s"],
            force=options["force"],
            drain_window_s=options["drain_window_s"],
        )
        begun = {**begun, node_id: [drain.id for drain in started]}
        progress = {DRAINS: begun, "node": node.name, "nodes_begun": len(begun), "nodes": len(options["nodes"])}
        operations.advance(tx, operation_id, "drain", progress)
        return True
    _close(tx, operation, begun)
    return False


def _close(tx: Tx, operation: Operation, begun: dict[str, list[str]]) -> None:
    """End it with what came of each node."""
    found = {node_id: [operations.get(tx, drain_id) for drain_id in drains] for node_id, drains in begun.items()}
    result: dict[str, Any] = {
        name: sum(drain.result.get(name, 0) for drains in found.values() for drain in drains)
        for name in ("peers_migrated", "sessions_taken_over", "left_behind")
    }
    reasons = {
        _name(tx, node_id): "; ".join(reason)
        for node_id, drains in found.items()
        if (reason := [str(drain.result.get("reason", drain.state)) for drain in drains if drain.state != SUCCEEDED])
    }
    for node_id in operation.options["nodes"]:
        if node_id not in begun:
            reasons[_name(tx, node_id)] = "the node was uncordoned, or is not in the group any more"
    result |= {"nodes": len(begun), "seconds": round(clock.now() - operation.created_at, 3)}
    if reasons:
        result["not_drained"] = reasons
    state = FAILED if reasons else SUCCEEDED
    operations.finish(tx, operation.id, state, result)
    audit.record(tx, operation.requested_by, "drained", "node_group", operation.subject, state=state, **result)


def _name(tx: Tx, node_id: str) -> str:
    node = node_rows.find(tx, node_id)
    return node_id if node is None else node.name
