"""The removal of a node from a config, in rows, step by step. Each may be done again without harm."""

from collections.abc import Collection, Sequence
from dataclasses import asdict

from wgfleet.panel import clock
from wgfleet.panel.domain import peer_counts
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep, MoveView
from wgfleet.panel.domain.operations import (
    DrainOptions,
    MoveOptions,
    OperationKind,
    OperationState,
    RelayOptions,
    RemovalProgress,
    RemovalResult,
)
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, backups, generations, operations
from wgfleet.panel.services.backups import Composed
from wgfleet.panel.services.dns import desired
from wgfleet.panel.services.fleet import old_files, placement, probe_keys
from wgfleet.panel.services.floating import brought, holders
from wgfleet.panel.services.moves import departures, relays, steps
from wgfleet.panel.services.moves.floor import check_floor
from wgfleet.panel.services.moves.steps import Subject
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
from wgfleet.protocol.reasons import Reason

LONGEST_WITHDRAWAL_S = 3600.0
DELETED, OWED, KEPT = "deleted", "cleanup owed", "kept"


def view(tx: Tx, operation_id: str) -> MoveView:
    """Read where a removal stands."""
    operation = operations.get(tx, operation_id)
    config_id, node_id = operation.config_id or "", operation.node_id or ""
    assignment = assignment_rows.get(tx, config_id, node_id)
    progress = operations.progress_of(operation, RemovalProgress)
    unsettled = steps.unsettled(tx, operation_id)
    if assignment is not None and steps.serves_unheard(tx, assignment):
        # It cannot drop those that others took over, and pulls them back: they are called until the window ends.
        unsettled += len(operation_rows.taken_over(tx, operation_id))
    unsettled += len(brought.still_at(tx, config_id, node_id))
    return MoveView(
        kind=operation.kind,
        finished=operation.finished_at is not None,
        begun_at=operation.created_at,
        config_id=config_id,
        placed=progress.placed,
        unsettled=unsettled,
        drain_ends_at=_drain_ends_at(tx, operation) if unsettled else progress.window_ends_at,
        sources=(node_id,),
        taken_over=progress.taken_over or 0,
        urgent=assignment is not None and not assignment.health.in_use,
        cancelled=operation.cancelled_by is not None and assignment is not None and assignment.phase == Phase.DRAINING,
        backed_up=backup_rows.of_operation(tx, operation_id) is not None,
        retired=assignment is None or assignment.phase == Phase.REMOVED,
        owed=assignment_rows.cleanup(tx, node_id, config_id) is not None,
        clean_ends_at=progress.clean_ends_at or 0.0,
    )


def _drain_ends_at(tx: Tx, operation: Operation) -> float:
    """Return when waiting for sessions that do not follow ends: the window counts from when the name lost the node.

    A client that comes back meanwhile would still be sent here. It is not waited for beyond an hour.
    """
    planned = operations.progress_of(operation, RemovalProgress).window_ends_at
    planned += steps.clock_spread_s(tx, operation.config_id or "") if planned else 0.0
    window_s = operations.options_of(operation, MoveOptions).drain_window_s
    node = node_rows.find(tx, operation.node_id or "")
    if not planned or not window_s or node is None:
        return planned
    withdrawn_at = desired.withdrawn_at(tx, operation.config_id or "", node.endpoint_addresses)
    longest = planned + LONGEST_WITHDRAWAL_S
    return longest if withdrawn_at is None else max(planned, min(longest, withdrawn_at + window_s))


def compose_backup(tx: Tx, vault: Vault, operation_id: str) -> Composed:
    """Put together what `back_up` saves, before the turn to write: of many peers that takes seconds."""
    r = steps.load(tx, operation_id)
    return backups.compose(tx, vault, r.config, r.node, r.assignment, _why(r))


def _why(r: Subject) -> Reason:
    return Reason("node {node} is being removed from config {config}", node=r.node.name, config=r.config.name)


def back_up(tx: Tx, vault: Vault, operation_id: str, composed: Composed | None = None) -> None:
    """Save the interface and its peers; as `composed` where nothing has changed since."""
    r = steps.load(tx, operation_id)
    if composed is not None and composed.generation != r.config.generation:
        composed = None
    backup = backups.create(
        tx, vault, audit.PANEL, r.config, r.node, r.assignment,
        reason=_why(r), operation_id=operation_id, composed=composed,
    )  # fmt: skip
    operations.advance(tx, operation_id, MoveStep.BACKUP, RemovalProgress(backup_id=backup.id))


def retire(tx: Tx, operation_id: str, *, live_within_s: float, clean_within_s: float) -> None:
    """Give up on sessions that did not follow, and write down that the node has to delete its interface.

    Does nothing when a client has just come to this node and there is time left to move it. Without force nobody is cut
    off who is live: the node then keeps the config, and the operation has failed.
    """
    r = steps.load(tx, operation_id)
    generations.hold(tx, r.config.id)
    if operation_rows.cancelled_by(tx, operation_id) is not None:
        return
    ends_at = operations.progress_of(r.operation, RemovalProgress).window_ends_at
    if steps.note_arrivals(tx, r, live_within_s) and clock.now() < ends_at:
        return
    if not operations.options_of(r.operation, RelayOptions).force and r.assignment.health.in_use:
        foreseen = departures.foresee(tx, r.config, r.node)
        if foreseen.clients:
            names = [client.name for client in foreseen.clients]
            reason = Reason(
                "{peers} did not come to other nodes, and would have been cut off: {names}",
                peers=departures.counted(len(names)),
                names=peer_counts.names_in_words(names),
            )
            if (late := brought.delay(tx, r.config.id, r.node.id)) is not None:
                reason = Reason("{reason}; {late}", reason=reason, late=late)
            _keep(tx, r, reason, names, departures.ways_out(r.config, r.node, floats=foreseen.floats))
            return
        if (late := brought.delay(tx, r.config.id, r.node.id)) is not None:
            _keep(tx, r, late, ways_out=(Hint(HintCode.FORCE),))
            return
    generation = generations.bump(tx, r.config.id, settings=True)  # it is nobody's witness any more
    steps.give_up(tx, operation_id)
    assignment_rows.applied(tx, r.assignment.id, phase=Phase.REMOVED)
    holders.reassign(tx, r.config.id, renew=True)
    # No machine has anything of a node that was never one.
    has_joined = r.node.certificate_expires_at is not None or r.node.last_seen_at is not None
    may_have_it = has_joined or r.assignment.applied_generation > 0
    if may_have_it and assignment_rows.cleanup(tx, r.node.id, r.config.id) is None:
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
    progress = RemovalProgress(**asdict(steps.counts(tx, operation_id)), clean_ends_at=clock.now() + clean_within_s)
    operations.advance(tx, operation_id, MoveStep.RETIRE, progress)
    tx.wake(Topic.NODE, r.node.id)


def _keep(tx: Tx, r: Subject, reason: str, names: Sequence[str] = (), ways_out: Sequence[Hint] = ()) -> None:
    """End a removal without it: the node serves on, with those whom nobody could call. `names`: theirs."""
    steps.give_up(tx, r.operation.id)
    steps.owe_drops(tx, r.operation)
    taken = operation_rows.taken_over(tx, r.operation.id)
    peer_rows.touch(tx, taken, generations.bump(tx, r.config.id, topic=Topic.PEERS))
    assignment_rows.applied(tx, r.assignment.id, phase=Phase.SERVING)
    brought.give_back(tx, r.config.id, r.node.id)
    holders.reassign(tx, r.config.id, renew=True)
    hanging = relays.relayed(tx, r.operation, taken)
    rehomed = operation_rows.rehomed(tx, r.operation.id)
    homes = Reason("; {count} of its peers have new homes, and keep them until a rebalance", count=rehomed)
    result = RemovalResult(
        peers_migrated=rehomed,
        sessions_taken_over=steps.counts(tx, r.operation.id).taken_over or 0,
        left_behind=len(names),
        left=tuple(sorted(names)[: steps.NAMED]) or None,
        relayed=steps.named(tx, hanging),
        relay_ends_at=clock.now() + relays.relay_s(r.operation) if hanging else None,
        seconds=round(clock.now() - r.operation.created_at, 3),
        interface=KEPT,
        backup_id=operations.progress_of(r.operation, RemovalProgress).backup_id,
        reason=Reason(
            "{reason}; node {node!r} goes on serving config {config!r}{homes}",
            reason=reason,
            node=r.node.name,
            config=r.config.name,
            homes=homes if rehomed and names else "",
        ),
        ways_out=tuple(hint.code.value for hint in ways_out) or None,
    )
    operations.finish(tx, r.operation.id, OperationState.FAILED, result)
    relays.wake(tx, r.operation)
    audit.record(
        tx, r.operation.requested_by, "removal_ended", "config_node", r.operation.subject,
        config=r.config.name, node=r.node.name, **operations.encode(result),
    )  # fmt: skip
    tx.wake(Topic.NODE, r.node.id)


def close(tx: Tx, operation_id: str) -> None:
    """Take the assignment out, and end the operation; where it was cancelled in time, end it alone."""
    r = steps.load(tx, operation_id)
    if r.operation.cancelled_by is not None and r.assignment.phase == Phase.DRAINING:
        _keep(
            tx,
            r,
            Reason(
                "cancelled by {cancelled_by}; peers that have a new home keep it until a rebalance",
                cancelled_by=r.operation.cancelled_by,
            ),
        )
        return
    generation = generations.probes_changed(tx, r.config.id)
    peer_rows.bury(tx, r.config.id, dict.fromkeys(probe_keys.public_keys(r.assignment)), generation, clock.now())
    owed = assignment_rows.cleanup(tx, r.node.id, r.config.id) is not None
    counts = steps.counts(tx, operation_id)
    unheard = owed and steps.serves_unheard(tx, r.assignment)
    left = steps.left_behind(tx, r, unheard=unheard)
    session_rows.forget(tx, r.node.id, r.config.id)
    old_files.node_left(tx, r.config, r.node, r.operation)
    brought.left(tx, r.config.id, r.node.id)
    assignment_rows.remove(tx, r.assignment.id)
    if owed:  # it was asked to delete its interface, and had its time: the next holder asks its own link
        holders.asked_no_more(tx, r.config.id, r.node.id)
    else:
        holders.gave_up(tx, r.config.id, r.node.id)
    hanging = relays.relayed(tx, r.operation, operation_rows.taken_over(tx, operation_id))
    result = RemovalResult(
        peers_migrated=operation_rows.rehomed(tx, operation_id),
        sessions_taken_over=max(0, (counts.taken_over or 0) + (counts.left or 0) - len(left)),
        left_behind=len(left),
        left=steps.named(tx, left),
        relayed=steps.named(tx, hanging),
        relay_ends_at=clock.now() + relays.relay_s(r.operation) if hanging else None,
        unconfirmed=(r.node.name,) if owed else None,
        warnings=_warnings(r.node, left, hanging, owed=owed, unheard=unheard),
        seconds=round(clock.now() - r.operation.created_at, 3),
        interface=OWED if owed else DELETED,
        backup_id=operations.progress_of(r.operation, RemovalProgress).backup_id,
    )
    operations.finish(tx, operation_id, OperationState.SUCCEEDED, result)
    audit.record(
        tx, r.operation.requested_by, "removed", "config_node", r.operation.subject,
        config=r.config.name, node=r.node.name, **operations.encode(result),
    )  # fmt: skip
    if owed:
        detail = Reason("the node could not be reached; it deletes the interface when it returns")
        audit.record(tx, audit.PANEL, "cleanup_owed", "node", r.node.id, interface=r.config.name, detail=detail)


def _warnings(
    node: Node, left: Collection[str], hanging: Collection[str], *, owed: bool, unheard: bool
) -> tuple[str, ...] | None:
    """Say in words what is not as one would think after a removal."""
    relaying = Reason(
        "node {node!r} passes on the packets of {count} clients, until they come to another node or the "
        "time is over: those who have not come then, or when it is switched off, are cut off until they connect again",
        node=node.name,
        count=len(hanging),
    )
    if unheard:
        text = Reason(
            "the agent of node {node!r} does not answer but its WireGuard does: it goes on serving, {count} "
            "sessions are or will be on it again, and it gets no more revocations; start its agent, or end WireGuard "
            "there",
            node=node.name,
            count=len(left),
        )
    elif owed:
        text = Reason(
            "node {node!r} could not be reached, and has not deleted its interface: if it still runs, it serves "
            "and gets no more revocations until its agent answers",
            node=node.name,
        )
    else:
        return (relaying,) if hanging else None
    return (text, relaying) if hanging else (text,)


def start(
    tx: Tx,
    actor: str,
    config: Config,
    node: Node,
    *,
    grace_s: float,
    force: bool = False,
    drain_window_s: float | None = None,
    relay_s: float = 0.0,
) -> Operation:
    """Begin to take a node out of a config. Asked again, it is the same operation, also after it has ended.

    It waits `drain_window_s` for sessions that do not follow; None: the TTL of the config's name and `grace_s`.
    `relay_s`: for how long the node passes on the packets of clients that nobody else can call.
    """
    generations.bump(tx, config.id)
    about = operations.subject(config.id, node.id)
    assignment = assignment_rows.get(tx, config.id, node.id)
    earlier = operation_rows.newest(tx, OperationKind.REMOVE_NODE, about)
    if earlier is not None and earlier.finished_at is None:
        relays.check_same(earlier, relay_s)
        return earlier
    if earlier is not None and assignment is None:
        return earlier
    if assignment is None:
        raise NotFound(
            Reason("config {config!r} is not assigned to node {node!r}", config=config.name, node=node.name),
            Hint(HintCode.LIST_CONFIG_NODES, config=config.name),
        )
    if not force:
        check(tx, config, node, assignment, relay_s=relay_s)
    window = steps.default_window(tx, config, grace_s) if drain_window_s is None else drain_window_s
    assignment_rows.applied(tx, assignment.id, phase=Phase.DRAINING)
    operation = operations.start(
        tx,
        actor,
        OperationKind.REMOVE_NODE,
        about,
        config_id=config.id,
        node_id=node.id,
        options=DrainOptions(force=force, drain_window_s=window, relay_s=relay_s or None),
    )
    audit.record(
        tx, actor, "draining", "config_node", about, config=config.name, node=node.name,
        operation=operation.id, force=force,
    )  # fmt: skip
    return operation


def check(tx: Tx, config: Config, node: Node, assignment: Assignment, *, relay_s: float = 0.0) -> None:
    """Raise `Conflict` where a removal needs force: it would cut users off, or leave too little."""
    _check_heard(config, node, assignment)
    foreseen = departures.foresee(tx, config, node)
    departures.check_stranded(foreseen.stranded, config)
    _check_floor(tx, config, node, assignment)
    if assignment.health.in_use:
        departures.check(foreseen, config, node, relay_s=relay_s)


def _check_heard(config: Config, node: Node, assignment: Assignment) -> None:
    """Refuse to remove a node that serves but does not listen: it would go on, and nobody could stop it from here."""
    if node.connected or not node.certificate_expires_at or assignment.phase != Phase.SERVING:
        return
    if assignment.health.in_use and assignment.health is not Health.SUSPECT:
        raise Conflict(
            Reason(
                "the agent of node {node!r} does not answer ({summary}) but its WireGuard does: after a removal "
                "it would go on serving users of config {config!r}, deleted ones too, and get no more revocations; "
                "start its agent, or end WireGuard there",
                node=node.name,
                summary=node.summary,
                config=config.name,
            ),
            Hint(HintCode.FORCE),
        )


def _check_floor(tx: Tx, config: Config, node: Node, assignment: Assignment) -> None:
    """Refuse a removal that leaves too few nodes that serve, or too little room for the peers."""
    homes = peer_rows.homed_on(tx, node.id, config.id)
    group = endpoint_group_rows.get(tx, config.id)
    # A node that never served takes nothing away; the last node of a config without a name and peers may always go.
    if not (assignment.phase == Phase.SERVING or homes) or not (homes or group is not None):
        return
    left = [n for a, n in assignment_rows.of_config(tx, config.id) if a.phase == Phase.SERVING and n.id != node.id]
    candidates = placement.candidates(tx, config.id, without={node.id})
    check_floor(tx, config, [node], left=len(left), candidates=candidates, cordoned_count=True)
