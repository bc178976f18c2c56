"""Peers on their way from nodes to others: new homes, calls to live sessions, and what came of them.

Written step by step for an operation that takes a node out (`removals`), replaces a dead one (`failovers`), or moves
peers as planned (`maintenance`); each may be done again without harm.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.services import assignments, audit, configs, nodes, operations, placing
from wgfleet.panel.services.desired import DRAINING, FENCED, SERVING
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Assignment, Config, Move, Node, Operation, Peer
from wgfleet.protocol.ids import PeerId

PENDING, MOVED, LEFT = "pending", "moved", "left"
PLACED = "drain_ends_at"  # in an operation's progress from the moment that its moves are written
DROPPED = "dropped_generation"  # in the progress: from here on the nodes that lost sessions have dropped those peers
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
    configs.bump(tx, r.config.id)
    now = clock.now()
    homed = peer_rows.homed_on(tx, r.node.id, r.config.id)
    found = placing.candidates(tx, r.config.id, without={r.node.id}, well=True)
    nodes_left = [node for node in found if not (stays and node.cordoned)]
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
    if not stays:
        peer_rows.rehome(tx, dict.fromkeys(homeless, None))
    rehomed = {peer_id for peer_id, _ in homed}
    moves = [
        move(operation_id, peer_id, r.node.id, targets.get(peer_id), live.get(peer_id), rehomed=peer_id in rehomed)
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


def calls(tx: Tx, operation_id: str, *, live_within_s: float) -> tuple[str, list[Call]]:
    """Settle what needs no call, and return the interface with the calls that are left.

    Idle peers are moved once their new node has them; a peer that shook hands elsewhere meanwhile has moved by itself.
    """
    operation = operations.get(tx, operation_id)
    config = configs.get(tx, operation.config_id or "")
    if operation.node_id is not None:
        note_arrivals(tx, load(tx, operation_id), live_within_s)
    pending = rows.pending(tx, operation_id)
    having = _Having(tx, config.id)
    targets = {
        moving.peer_id: target for moving, peer in pending if (target := having.target(tx, moving, peer)) is not None
    }
    latest = session_rows.latest(tx, [moving.peer_id for moving, _ in pending if moving.live])
    gone = {m.peer_id for m, _ in pending if (s := latest.get(m.peer_id)) is not None and s.node_id != m.from_node_id}
    # Nobody calls a peer that is disabled: no node is to have it.
    settled = [
        m for m, peer in pending if m.peer_id in gone or not peer.enabled or (not m.live and m.peer_id in targets)
    ]
    if settled:
        _settle(tx, operation, [m.peer_id for m in settled], drop=[m.peer_id for m in settled if m.live])
    wanted = []
    for moving, peer in pending:
        session = latest.get(moving.peer_id)
        endpoint = session.endpoint if session is not None and session.endpoint else moving.endpoint
        target = targets.get(moving.peer_id)
        if moving.live and moving.peer_id not in gone and peer.enabled and endpoint and target:
            wanted.append(Call(moving.peer_id, peer.public_key, endpoint, target))
    return config.name, wanted


class _Having:
    """Which nodes of a config can call which peers."""

    def __init__(self, tx: Tx, config_id: str) -> None:
        self._config_id = config_id
        self._applied = {
            assignment.node_id: assignment.applied_generation
            for assignment, _ in assignment_rows.of_config(tx, config_id)
            if assignment.phase == SERVING and assignment.health not in FENCED
        }
        self._given_up: dict[str, set[str]] = {}

    def target(self, tx: Tx, moving: Move, peer: Peer) -> str | None:
        """Return the node that is to have a peer, once it has it; its present home where the planned one went away."""
        node_id = moving.to_node_id if moving.to_node_id in self._applied else peer.home_node_id
        if node_id is None or node_id == moving.from_node_id or self._applied.get(node_id, 0) < peer.generation:
            return None
        if node_id not in self._given_up:
            self._given_up[node_id] = peer_rows.given_up_by(tx, node_id, self._config_id)
        return None if peer.public_key in self._given_up[node_id] else node_id


def settle(tx: Tx, operation_id: str, answered: Collection[str], unanswered: Collection[str]) -> None:
    """Note who answered a new node; the old one then drops those peers, or its next packet would turn them back."""
    rows.tried_again(tx, operation_id, unanswered)
    _settle(tx, operations.get(tx, operation_id), answered, drop=answered)


def _settle(tx: Tx, operation: Operation, peer_ids: Collection[str], *, drop: Collection[str]) -> None:
    progress = dict(operation.progress)
    if drop:
        # The old node's rendering leaves these out from this generation on.
        progress[DROPPED] = configs.bump(tx, operation.config_id or "")
        peer_rows.touch(tx, drop, progress[DROPPED])
    rows.settle_moves(tx, operation.id, peer_ids, MOVED)
    operations.advance(tx, operation.id, TAKEOVER, progress | counts(tx, operation.id))


def placed(tx: Tx, operation_id: str) -> bool:
    """Tell whether the homes have moved."""
    return PLACED in operations.get(tx, operation_id).progress


def waiting(tx: Tx, operation_id: str) -> bool:
    """Tell whether sessions are still to be called: placed, some not settled, and time left."""
    operation = operations.get(tx, operation_id)
    tally = rows.tally(tx, operation_id)
    unsettled = tally.get((PENDING, True), 0) + tally.get((PENDING, False), 0)
    return unsettled > 0 and clock.now() < operation.progress.get(PLACED, 0.0)


def dropped(tx: Tx, operation_id: str) -> bool:
    """Tell whether each node that lost sessions has dropped those peers; only then may it have them again."""
    operation = operations.get(tx, operation_id)
    generation = operation.progress.get(DROPPED, 0)
    givers = set(rows.taken_over(tx, operation_id).values())
    return not any(
        assignment.node_id in givers
        and assignment.phase in {SERVING, DRAINING}
        and assignment.health not in FENCED  # fenced nodes get no peer before they have dropped all
        and assignment.applied_generation < generation
        for assignment, _ in assignment_rows.of_config(tx, operation.config_id or "")
    )


def release(tx: Tx, operation_id: str) -> None:
    """Let the nodes that lost sessions have those peers again. In the transaction in which the operation ends."""
    taken = rows.taken_over(tx, operation_id)
    if taken:
        config_id = operations.get(tx, operation_id).config_id or ""
        peer_rows.touch(tx, taken, configs.bump(tx, config_id))


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
