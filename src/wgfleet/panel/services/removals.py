"""What the removal of a node from a config writes, step by step. Each may be done again without harm."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain.removal import RemovalStep, RemovalView
from wgfleet.panel.services import assignments, audit, backups, configs, nodes, operations, placing
from wgfleet.panel.services.desired import REMOVED
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import backups as backup_rows
from wgfleet.panel.store import operations as rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Assignment, Cleanup, Config, Node, Operation
from wgfleet.panel.vault import Vault
from wgfleet.protocol.ids import NodeId, PeerId

PENDING, MOVED, LEFT = "pending", "moved", "left"
PLACED = "drain_ends_at"  # in an operation's progress from the moment that its moves are written
DELETED, OWED = "deleted", "cleanup owed"


@dataclass(frozen=True, slots=True)
class Call:
    """A live peer that a node is to call at its last endpoint (`ADDRESS:PORT`)."""

    peer_id: str
    public_key: str
    endpoint: str
    node_id: str


@dataclass(frozen=True, slots=True)
class _Removal:
    operation: Operation
    config: Config
    node: Node
    assignment: Assignment


def _load(tx: Tx, operation_id: str) -> _Removal:
    operation = operations.get(tx, operation_id)
    config = configs.get(tx, operation.config_id or "")
    node = nodes.get(tx, operation.node_id or "")
    return _Removal(operation, config, node, assignments.get(tx, config, node))


def view(tx: Tx, operation_id: str) -> RemovalView:
    """Read where a removal stands."""
    operation = operations.get(tx, operation_id)
    config_id, node_id = operation.config_id or "", operation.node_id or ""
    assignment = assignment_rows.get(tx, config_id, node_id)
    tally = rows.tally(tx, operation_id)
    progress = operation.progress
    return RemovalView(
        finished=operation.finished_at is not None,
        has_backup=backup_rows.of_operation(tx, operation_id) is not None,
        placed=PLACED in progress,
        unsettled=tally.get((PENDING, True), 0) + tally.get((PENDING, False), 0),
        drain_ends_at=progress.get(PLACED, 0.0),
        retired=assignment is None or assignment.phase == REMOVED,
        owed=assignment_rows.cleanup(tx, node_id, config_id) is not None,
        clean_ends_at=progress.get("clean_ends_at", 0.0),
    )


def back_up(tx: Tx, vault: Vault, operation_id: str) -> None:
    """Save the interface and its peers."""
    r = _load(tx, operation_id)
    reason = f"node {r.node.name} is being removed from config {r.config.name}"
    backup = backups.create(
        tx, vault, "panel", r.config, r.node, r.assignment, reason=reason, operation_id=operation_id
    )
    operations.advance(tx, operation_id, RemovalStep.BACKUP, {**r.operation.progress, "backup_id": backup.id})


def place(tx: Tx, operation_id: str, *, live_within_s: float) -> None:
    """Give the node's peers new homes, and write down which sessions have to move; one transaction for all.

    A session may live on this node whatever the peer's home is: in a cluster the client chose the node by name.
    """
    r = _load(tx, operation_id)
    if PLACED in r.operation.progress:
        return
    configs.bump(tx, r.config.id)
    now = clock.now()
    homed = peer_rows.homed_on(tx, r.node.id, r.config.id)
    nodes_left = placing.candidates(tx, r.config.id, without={r.node.id})
    serving = {candidate.node_id for candidate in nodes_left}
    live: dict[str, str] = {}
    if r.config.mode == configs.CLUSTER:
        live = dict(session_rows.live_on(tx, r.node.id, r.config.id, now - live_within_s))
    guests = {peer.id: peer for peer in peer_rows.by_ids(tx, set(live) - {peer_id for peer_id, _ in homed})}
    targets: dict[str, str | None] = {
        peer_id: peer.home_node_id for peer_id, peer in guests.items() if peer.home_node_id in serving
    }
    strays = [(peer_id, peer.group_id) for peer_id, peer in guests.items() if peer_id not in targets]
    if nodes_left:
        placement = placing.choose([*homed, *strays], nodes_left, overflow=True)
        targets.update({str(peer_id): str(node_id) for peer_id, node_id in placement.homes.items()})
        peer_rows.rehome(tx, {peer: home for peer, home in placement.homes.items() if peer not in guests})
    homeless = [PeerId(peer_id) for peer_id, _ in homed if peer_id not in targets]
    peer_rows.rehome(tx, dict.fromkeys(homeless, None))
    rehomed = {peer_id for peer_id, _ in homed}
    moves = [
        _move(r, peer_id, targets.get(peer_id), live.get(peer_id), rehomed=peer_id in rehomed)
        for peer_id in sorted(rehomed | set(live))
    ]
    peer_rows.add_moves(tx, moves)
    window = float(r.operation.options["drain_window_s"])
    progress = {**r.operation.progress, PLACED: now + window, "started_at": r.operation.created_at}
    operations.advance(tx, operation_id, RemovalStep.PLACE, progress | _counts(tx, operation_id))
    audit.record(
        tx, "panel", "peers_migrated", "config_node", r.operation.subject,
        config=r.config.name, node=r.node.name, peers=len(rehomed), live=len(live), to=_shares(targets),
    )  # fmt: skip


def _note_arrivals(tx: Tx, r: _Removal, live_within_s: float) -> int:
    """Have peers called that got a session on the draining node after its peers were placed; return how many."""
    if r.config.mode != configs.CLUSTER:
        return 0
    now_live = dict(session_rows.live_on(tx, r.node.id, r.config.id, clock.now() - live_within_s))
    moves = rows.moves(tx, r.operation.id)
    new = {peer_id: endpoint for peer_id, endpoint in now_live.items() if not (m := moves.get(peer_id)) or not m.live}
    peers = {peer.id: peer for peer in peer_rows.by_ids(tx, new)}
    serving = {c.node_id for c in placing.candidates(tx, r.config.id, without={r.node.id})}
    strays = []
    for peer_id, endpoint in new.items():
        home = peers[peer_id].home_node_id
        if home not in serving:
            continue
        if peer_id in moves:
            rows.went_live(tx, r.operation.id, peer_id, endpoint)
        else:
            strays.append(_move(r, peer_id, home, endpoint, rehomed=False))
    peer_rows.add_moves(tx, strays)
    return len(new)


def _move(r: _Removal, peer_id: str, to_node_id: str | None, endpoint: str | None, *, rehomed: bool) -> dict[str, Any]:
    return {
        "operation_id": r.operation.id,
        "peer_id": peer_id,
        "from_node_id": r.node.id,
        "to_node_id": to_node_id,
        "endpoint": endpoint,
        "live": endpoint is not None,
        "rehomed": rehomed and to_node_id is not None,
        "state": PENDING if to_node_id else LEFT,
        "attempts": 0,
    }


def calls(tx: Tx, operation_id: str, *, live_within_s: float) -> tuple[str, list[Call]]:
    """Settle what needs no call, and return the interface with the calls that are left.

    Idle peers are moved once their new node has them; a peer that shook hands elsewhere meanwhile has moved by itself.
    """
    r = _load(tx, operation_id)
    _note_arrivals(tx, r, live_within_s)
    pending = rows.pending(tx, operation_id)
    confirmed = {a.node_id: a.applied_generation for a, _ in assignment_rows.of_config(tx, r.config.id)}
    has_it = {
        move.peer_id
        for move, peer in pending
        if move.to_node_id is not None and confirmed.get(NodeId(move.to_node_id), 0) >= peer.generation
    }
    latest = session_rows.latest(tx, [move.peer_id for move, _ in pending if move.live])
    gone = {peer_id for peer_id, session in latest.items() if session.node_id != r.node.id}
    settled = [m.peer_id for m, peer in pending if (not m.live and m.peer_id in has_it) or m.peer_id in gone]
    if settled:
        _settle(tx, r, settled, drop=[peer_id for peer_id in settled if peer_id in gone])
    wanted = []
    for move, peer in pending:
        session = latest.get(move.peer_id)
        endpoint = session.endpoint if session is not None and session.endpoint else move.endpoint
        if move.live and move.peer_id not in gone and move.peer_id in has_it and endpoint and move.to_node_id:
            wanted.append(Call(move.peer_id, peer.public_key, endpoint, move.to_node_id))
    return r.config.name, wanted


def settle(tx: Tx, operation_id: str, answered: Collection[str], unanswered: Collection[str]) -> None:
    """Note who answered a new node; the old one then drops those peers, or its next packet would turn them back."""
    r = _load(tx, operation_id)
    rows.tried_again(tx, operation_id, unanswered)
    _settle(tx, r, answered, drop=answered)


def _settle(tx: Tx, r: _Removal, peer_ids: Collection[str], *, drop: Collection[str]) -> None:
    if drop:
        # The draining node's rendering leaves these out from this generation on.
        peer_rows.touch(tx, drop, configs.bump(tx, r.config.id))
    rows.settle_moves(tx, r.operation.id, peer_ids, MOVED)
    operations.advance(
        tx, r.operation.id, RemovalStep.TAKEOVER, {**r.operation.progress, **_counts(tx, r.operation.id)}
    )


def retire(tx: Tx, operation_id: str, *, live_within_s: float, clean_within_s: float) -> None:
    """Give up on sessions that did not follow, and write down that the node has to delete its interface.

    Does nothing when a client has just come to this node and there is time left to move it.
    """
    r = _load(tx, operation_id)
    if _note_arrivals(tx, r, live_within_s) and clock.now() < r.operation.progress[PLACED]:
        return
    generation = configs.bump(tx, r.config.id)
    rows.settle_moves(tx, operation_id, [move.peer_id for move, _ in rows.pending(tx, operation_id)], LEFT)
    assignment_rows.applied(tx, r.assignment.id, phase=REMOVED)
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
    progress = {**r.operation.progress, **_counts(tx, operation_id), "clean_ends_at": clock.now() + clean_within_s}
    operations.advance(tx, operation_id, RemovalStep.RETIRE, progress)
    tx.wake("node", r.node.id)


def close(tx: Tx, operation_id: str) -> None:
    """Take the assignment out, and end the operation with what came of it."""
    r = _load(tx, operation_id)
    configs.bump(tx, r.config.id)
    owed = assignment_rows.cleanup(tx, r.node.id, r.config.id) is not None
    counts = _counts(tx, operation_id)
    session_rows.forget(tx, r.node.id, r.config.id)
    assignment_rows.remove(tx, r.assignment.id)
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
        audit.record(tx, "panel", "cleanup_owed", "node", r.node.id, interface=r.config.name, detail=detail)


def _counts(tx: Tx, operation_id: str) -> dict[str, Any]:
    tally = rows.tally(tx, operation_id)
    return {
        "peers": sum(tally.values()),
        "live": sum(count for (_, live), count in tally.items() if live),
        "moved": tally.get((MOVED, True), 0) + tally.get((MOVED, False), 0),
        "taken_over": tally.get((MOVED, True), 0),
        "left": tally.get((LEFT, True), 0),
    }


def _shares(targets: dict[str, str | None]) -> dict[str, int]:
    shares: dict[str, int] = {}
    for node_id in targets.values():
        if node_id is not None:
            shares[node_id] = shares.get(node_id, 0) + 1
    return shares
