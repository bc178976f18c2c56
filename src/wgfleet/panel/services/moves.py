"""Peers on their way from one node to others: new homes, calls to live sessions, and what came of them.

Written step by step for an operation that takes a node out (`removals`) or replaces a dead one (`failovers`); each may
be done again without harm.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.services import assignments, audit, configs, nodes, operations, placing
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Assignment, Config, Node, Operation
from wgfleet.protocol.ids import NodeId, PeerId

PENDING, MOVED, LEFT = "pending", "moved", "left"
PLACED = "drain_ends_at"  # in an operation's progress from the moment that its moves are written
PLACE, TAKEOVER = "place", "takeover"


@dataclass(frozen=True, slots=True)
class Call:
    """A live peer that a node is to call at its last endpoint (`ADDRESS:PORT`)."""

    peer_id: str
    public_key: str
    endpoint: str
    node_id: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What an operation is about, read fresh."""

    operation: Operation
    config: Config
    node: Node
    assignment: Assignment


def load(tx: Tx, operation_id: str) -> Subject:
    """Read what an operation is about."""
    operation = operations.get(tx, operation_id)
    config = configs.get(tx, operation.config_id or "")
    node = nodes.get(tx, operation.node_id or "")
    return Subject(operation, config, node, assignments.get(tx, config, node))


def place(tx: Tx, operation_id: str, *, live_within_s: float) -> None:
    """Give the node's peers new homes, and write down which sessions have to move; one transaction for all.

    A session may live on this node whatever the peer's home is: in a cluster the client chose the node by name.
    """
    r = load(tx, operation_id)
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
    operations.advance(tx, operation_id, PLACE, progress | counts(tx, operation_id))
    audit.record(
        tx, "panel", "peers_migrated", "config_node", r.operation.subject,
        config=r.config.name, node=r.node.name, peers=len(rehomed), live=len(live), to=_shares(targets),
    )  # fmt: skip


def note_arrivals(tx: Tx, r: Subject, live_within_s: float) -> int:
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


def _move(r: Subject, peer_id: str, to_node_id: str | None, endpoint: str | None, *, rehomed: bool) -> dict[str, Any]:
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
    r = load(tx, operation_id)
    note_arrivals(tx, r, live_within_s)
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
    r = load(tx, operation_id)
    rows.tried_again(tx, operation_id, unanswered)
    _settle(tx, r, answered, drop=answered)


def _settle(tx: Tx, r: Subject, peer_ids: Collection[str], *, drop: Collection[str]) -> None:
    if drop:
        # The draining node's rendering leaves these out from this generation on.
        peer_rows.touch(tx, drop, configs.bump(tx, r.config.id))
    rows.settle_moves(tx, r.operation.id, peer_ids, MOVED)
    operations.advance(tx, r.operation.id, TAKEOVER, {**r.operation.progress, **counts(tx, r.operation.id)})


def counts(tx: Tx, operation_id: str) -> dict[str, Any]:
    """Count an operation's moves, for its progress and result."""
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
