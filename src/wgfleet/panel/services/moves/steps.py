"""Peers on their way from nodes to others: new homes, which sessions have to move, and what came of it.

The sessions are moved by `calls`. Written step by step for an operation that takes a node out (`removals`), replaces a
dead one (`failovers`), or moves peers as planned (`maintenance`); each may be done again without harm.
"""

from dataclasses import dataclass
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit, configs, generations, operations
from wgfleet.panel.services.fleet import assignments, nodes, placement
from wgfleet.panel.services.floating import holders
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Assignment, Config, Node, Operation
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.ids import PeerId

PENDING, MOVED, LEFT = "pending", "moved", "left"
PLACED = "drain_ends_at"  # in an operation's progress from the moment that its moves are written
DROPPED = "dropped_generation"  # in the progress: from here on the nodes that lost sessions have dropped those peers
PLACE, TAKEOVER = "place", "takeover"
REMOVING = "the node is being removed from the config"  # which does the same work


@dataclass(frozen=True, slots=True)
class Subject:
    """What an operation on one node is about, read fresh."""

    operation: Operation
    config: Config
    node: Node
    assignment: Assignment


def load(tx: Tx, operation_id: str) -> Subject:
    """Read what an operation on one node is about."""
    operation = operations.get(tx, operation_id)
    config = configs.get(tx, operation.config_id or "")
    node = nodes.get(tx, operation.node_id or "")
    return Subject(operation, config, node, assignments.get(tx, config, node))


def place(tx: Tx, operation_id: str, *, live_within_s: float, stays: bool = False) -> None:
    """Give the node's peers new homes, and write down which sessions have to move; one transaction for all.

    A session may live on this node whatever the peer's home is: in a cluster the client chose the node by name.
    `stays`: the node goes on serving, so peers that no other can have stay at home, and cordoned nodes get none.
    """
    r = load(tx, operation_id)
    if PLACED in r.operation.progress:
        return
    generations.bump(tx, r.config.id, topic=Topic.PEERS)
    now = clock.now()
    homed = peer_rows.homed_on(tx, r.node.id, r.config.id)
    without = {r.node.id} | (placement.cordoned(tx, r.config.id) if stays else set())
    nodes_left = placement.candidates(tx, r.config.id, without=without, well=True)
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
        placed = placement.choose(tx, r.config.id, [*homed, *strays], nodes_left, overflow=True)
        targets.update({str(peer_id): str(node_id) for peer_id, node_id in placed.homes.items()})
        peer_rows.rehome(tx, {peer: home for peer, home in placed.homes.items() if peer not in guests})
    homeless = [PeerId(peer_id) for peer_id, _ in homed if peer_id not in targets]
    if not stays:
        peer_rows.rehome(tx, dict.fromkeys(homeless, None))
    rehomed = {peer_id for peer_id, _ in homed}
    moves = [
        move(operation_id, peer_id, r.node.id, targets.get(peer_id), live.get(peer_id), rehomed=peer_id in rehomed)
        for peer_id in sorted(rehomed | set(live))
    ]
    peer_rows.add_moves(tx, moves)
    if not live:
        holders.empty(tx, r.config.id, r.node.id)
    window = float(r.operation.options["drain_window_s"])
    progress = {**r.operation.progress, PLACED: now + window, "started_at": r.operation.created_at}
    operations.advance(tx, operation_id, PLACE, progress | counts(tx, operation_id))
    audit.record(
        tx, audit.PANEL, "peers_migrated", "config_node", r.operation.subject,
        config=r.config.name, node=r.node.name, peers=len(rehomed), live=len(live), to=_shares(targets),
    )  # fmt: skip


def note_arrivals(tx: Tx, r: Subject, live_within_s: float) -> int:
    """Have peers called that got a session on the draining node after its peers were placed; return how many."""
    if r.config.mode != configs.CLUSTER:
        return 0
    now_live = dict(session_rows.live_on(tx, r.node.id, r.config.id, clock.now() - live_within_s))
    moves = operation_rows.moves(tx, r.operation.id)
    new = {peer_id: endpoint for peer_id, endpoint in now_live.items() if not (m := moves.get(peer_id)) or not m.live}
    peers = {peer.id: peer for peer in peer_rows.by_ids(tx, new)}
    serving = {c.node_id for c in placement.candidates(tx, r.config.id, without={r.node.id})}
    strays = []
    for peer_id, endpoint in new.items():
        home = peers[peer_id].home_node_id
        if home not in serving:
            continue
        if peer_id in moves:
            operation_rows.went_live(tx, r.operation.id, peer_id, endpoint)
        else:
            strays.append(move(r.operation.id, peer_id, r.node.id, home, endpoint, rehomed=False))
    peer_rows.add_moves(tx, strays)
    return len(new)


def move(
    operation_id: str, peer_id: str, from_node_id: str, to_node_id: str | None, endpoint: str | None, *, rehomed: bool
) -> dict[str, Any]:
    """Return the row of a new move. `endpoint`: of the live session, None for a peer that is idle."""
    return {
        "operation_id": operation_id,
        "peer_id": peer_id,
        "from_node_id": from_node_id,
        "to_node_id": to_node_id,
        "endpoint": endpoint,
        "live": endpoint is not None,
        "rehomed": rehomed and to_node_id is not None,
        "state": PENDING if to_node_id else LEFT,
        "attempts": 0,
    }


def placed(tx: Tx, operation_id: str) -> bool:
    """Tell whether the homes have moved."""
    return PLACED in operations.get(tx, operation_id).progress


def waiting(tx: Tx, operation_id: str) -> bool:
    """Tell whether sessions are still to be called: placed, some not settled, and time left."""
    operation = operations.get(tx, operation_id)
    tally = operation_rows.tally(tx, operation_id)
    unsettled = tally.get((PENDING, True), 0) + tally.get((PENDING, False), 0)
    return unsettled > 0 and clock.now() < operation.progress.get(PLACED, 0.0)


def holding(tx: Tx, operation_id: str) -> dict[str, str]:
    """Return the nodes (id, name) that lost sessions and have yet to drop those peers, before they have them again.

    So has the node that is emptied as long as it has a floating address.
    """
    operation = operations.get(tx, operation_id)
    generation = operation.progress.get(DROPPED, 0)
    givers = set(operation_rows.taken_over(tx, operation_id).values())
    leaving = holders.leaving(tx, operation.config_id or "") & {operation.node_id}
    return {
        node.id: node.name
        for assignment, node in assignment_rows.of_config(tx, operation.config_id or "")
        if (assignment.node_id in givers or assignment.node_id in leaving)
        and assignment.phase in {Phase.SERVING, Phase.DRAINING}
        and assignment.health.in_use  # fenced nodes get no peer before they have dropped all
        and (assignment.applied_generation < generation or assignment.node_id in leaving)
    }


def ends_at(tx: Tx, operation_id: str) -> float:
    """Return when the time for sessions to move is over, in s since the epoch."""
    return float(operations.get(tx, operation_id).progress.get(PLACED, 0.0))


def finish(tx: Tx, operation_id: str, reason: str | None) -> dict[str, Any]:
    """End an operation with what came of it and return that; the nodes that lost sessions may have those peers again.

    `reason`: why it ended before all was moved. `unconfirmed` in the result: nodes that could not say that they dropped
    the sessions that others took over.
    """
    operation = operations.get(tx, operation_id)
    unconfirmed = sorted(holding(tx, operation_id).values())
    operation_rows.settle_moves(
        tx, operation_id, [moving.peer_id for moving, _ in operation_rows.pending(tx, operation_id)], LEFT
    )
    if taken := operation_rows.taken_over(tx, operation_id):
        peer_rows.touch(tx, taken, generations.bump(tx, operation.config_id or "", topic=Topic.PEERS))
    tally = counts(tx, operation_id)
    result = {
        "peers_migrated": operation_rows.rehomed(tx, operation_id),
        "sessions_taken_over": tally["taken_over"],
        "left_behind": tally["left"],
        "seconds": round(clock.now() - operation.created_at, 3),
    }
    if unconfirmed:
        result["unconfirmed"] = unconfirmed
    if reason is not None:
        result["reason"] = reason
    operations.finish(tx, operation_id, operations.SUCCEEDED if reason is None else operations.FAILED, result)
    return result


def counts(tx: Tx, operation_id: str) -> dict[str, Any]:
    """Count an operation's moves, for its progress and result."""
    tally = operation_rows.tally(tx, operation_id)
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
