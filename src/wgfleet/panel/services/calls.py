"""Calls to live sessions: which node is to call which peer now, and what came of it.

The new homes call the clients; whoever answered has moved, and the old node then drops the peer.
"""

from collections.abc import Collection
from dataclasses import dataclass

from wgfleet.panel.services import configs, floating, moves, operations
from wgfleet.panel.services.desired import FENCED, SERVING
from wgfleet.panel.services.moves import DROPPED, MOVED, TAKEOVER
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Move, Operation, Peer


@dataclass(frozen=True, slots=True)
class Call:
    """A live peer that a node is to call at its last endpoint (`ADDRESS:PORT`).

    `source` is the floating address to call from, None: whichever the node takes by itself.
    """

    peer_id: str
    public_key: str
    endpoint: str
    node_id: str
    source: str | None = None


def due(tx: Tx, operation_id: str, *, live_within_s: float) -> tuple[str, list[Call]]:
    """Settle what needs no call, and return the interface with the calls that are left.

    Idle peers are moved once their new node has them; a peer that shook hands elsewhere meanwhile has moved by itself.
    """
    operation = operations.get(tx, operation_id)
    config = configs.get(tx, operation.config_id or "")
    if operation.node_id is not None:
        moves.note_arrivals(tx, moves.load(tx, operation_id), live_within_s)
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
    if operation.node_id is not None and not any(m.live and not m.attempts and m not in settled for m, _ in pending):
        # Whoever could be called at an address of the new nodes has been: the others need the floating one.
        floating.empty(tx, config.id, operation.node_id)
    callers = floating.callers(tx, config.id)
    wanted = []
    for moving, peer in pending:
        session = latest.get(moving.peer_id)
        endpoint = session.endpoint if session is not None and session.endpoint else moving.endpoint
        target, source = targets.get(moving.peer_id), None
        if callers.took_from(moving.from_node_id):
            target, source = callers.choose(moving.from_node_id, moving.attempts)
            target = target if target and having.peer(tx, target, peer) else None
        if moving.live and moving.peer_id not in gone and peer.enabled and endpoint and target:
            wanted.append(Call(moving.peer_id, peer.public_key, endpoint, target, source))
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
        if node_id is None or node_id == moving.from_node_id:
            return None
        return node_id if self.peer(tx, node_id, peer) else None

    def peer(self, tx: Tx, node_id: str, peer: Peer) -> bool:
        """Tell whether a node has a peer now."""
        if self._applied.get(node_id, 0) < peer.generation:
            return False
        if node_id not in self._given_up:
            self._given_up[node_id] = peer_rows.given_up_by(tx, node_id, self._config_id)
        return peer.public_key not in self._given_up[node_id]


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
    operations.advance(tx, operation.id, TAKEOVER, progress | moves.counts(tx, operation.id))
