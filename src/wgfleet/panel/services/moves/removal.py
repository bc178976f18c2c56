"""What the removal of a node from a config writes, step by step. Each may be done again without harm."""

from wgfleet.panel import clock
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.domain.removal import RemovalStep, RemovalView
from wgfleet.panel.errors import Conflict, Exhausted, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, backups, generations, operations
from wgfleet.panel.services.dns import wanted
from wgfleet.panel.services.fleet import placement
from wgfleet.panel.services.floating import holders
from wgfleet.panel.services.generations import bump, probes_changed
from wgfleet.panel.services.moves import steps
from wgfleet.panel.services.moves.steps import LEFT, PENDING, PLACED
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import backups as backup_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Assignment, Cleanup, Config, Node, Operation
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault

LONGEST_WITHDRAWAL_S = 3600.0
DELETED, OWED = "deleted", "cleanup owed"


def view(tx: Tx, operation_id: str) -> RemovalView:
    """Read where a removal stands."""
    operation = operations.get(tx, operation_id)
    config_id, node_id = operation.config_id or "", operation.node_id or ""
    assignment = assignment_rows.get(tx, config_id, node_id)
    tally = operation_rows.tally(tx, operation_id)
    progress = operation.progress
    unsettled = tally.get((PENDING, True), 0) + tally.get((PENDING, False), 0)
    return RemovalView(
        finished=operation.finished_at is not None,
        has_backup=backup_rows.of_operation(tx, operation_id) is not None,
        placed=PLACED in progress,
        unsettled=unsettled,
        drain_ends_at=_drain_ends_at(tx, operation) if unsettled else progress.get(PLACED, 0.0),
        retired=assignment is None or assignment.phase == Phase.REMOVED,
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
    operation_rows.settle_moves(
        tx, operation_id, [move.peer_id for move, _ in operation_rows.pending(tx, operation_id)], LEFT
    )
    assignment_rows.applied(tx, r.assignment.id, phase=Phase.REMOVED)
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
    tx.wake(Topic.NODE, r.node.id)


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
        "peers_migrated": operation_rows.rehomed(tx, operation_id),
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


def start(
    tx: Tx,
    actor: str,
    config: Config,
    node: Node,
    *,
    grace_s: float,
    force: bool = False,
    drain_window_s: float | None = None,
) -> Operation:
    """Begin to take a node out of a config. Asked again, it is the same operation, also after it has ended.

    It waits `drain_window_s` for sessions that do not follow; None: the TTL of the config's name and `grace_s`.
    """
    generations.bump(tx, config.id)
    about = operations.subject(config.id, node.id)
    assignment = assignment_rows.get(tx, config.id, node.id)
    earlier = operation_rows.newest(tx, operations.REMOVE_NODE, about)
    if earlier is not None and (earlier.finished_at is None or assignment is None):
        return earlier
    if assignment is None:
        raise NotFound(
            f"config {config.name!r} is not assigned to node {node.name!r}",
            Hint(HintCode.LIST_CONFIG_NODES, config=config.name),
        )
    _check_floor(tx, config, node, assignment, force=force)
    window = default_window(tx, config, grace_s) if drain_window_s is None else drain_window_s
    assignment_rows.applied(tx, assignment.id, phase=Phase.DRAINING)
    operation = operations.start(
        tx,
        actor,
        operations.REMOVE_NODE,
        about,
        config_id=config.id,
        node_id=node.id,
        options={"force": force, "drain_window_s": window},
    )
    audit.record(
        tx, actor, "draining", "config_node", about, config=config.name, node=node.name,
        operation=operation.id, force=force,
    )  # fmt: skip
    return operation


def default_window(tx: Tx, config: Config, grace_s: float) -> float:
    """Return how long a planned move waits for sessions that do not follow, in s: the name's TTL and some grace."""
    group = endpoint_group_rows.get(tx, config.id)
    return grace_s + (group.ttl if group else 0)


def _check_floor(tx: Tx, config: Config, node: Node, assignment: Assignment, *, force: bool) -> None:
    """Refuse a removal that leaves too few nodes, or too little room for the peers, unless it is forced."""
    if force:
        return
    group = endpoint_group_rows.get(tx, config.id)
    least = group.min_nodes if group else 1
    left = [n.name for a, n in assignment_rows.of_config(tx, config.id) if a.phase == Phase.SERVING and n.id != node.id]
    homes = peer_rows.homed_on(tx, node.id, config.id)
    # A node that never served takes nothing away.
    counted = assignment.phase == Phase.SERVING or homes
    if counted and len(left) < least and (homes or group is not None):
        raise Conflict(
            f"without node {node.name!r} config {config.name!r} would be served by {len(left)} of at least {least} "
            "nodes (min_nodes)",
            Hint(HintCode.ASSIGN_NODE, config=config.name),
            Hint(HintCode.FORCE),
        )
    if homes and left:
        placed = placement.choose(tx, config.id, homes, placement.candidates(tx, config.id, without={node.id}))
        if placed.left:
            raise Exhausted(
                f"the other nodes of config {config.name!r} have no room for {len(placed.left)} of {len(homes)} "
                f"peers of node {node.name!r}",
                Hint(HintCode.RAISE_CAPACITY),
                Hint(HintCode.ASSIGN_NODE, config=config.name),
                Hint(HintCode.FORCE),
            )
