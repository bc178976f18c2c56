"""Takeover calls: which node is to start a handshake with which live peer, and who answered.

The new homes call the clients; a client that answered has moved, and the old node then drops the peer.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveState, MoveStep
from wgfleet.panel.domain.operations import MoveProgress, OperationKind, PeerMoveOptions
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import configs, generations, operations
from wgfleet.panel.services.fleet import peers, placement
from wgfleet.panel.services.floating import holders
from wgfleet.panel.services.moves import relays, steps, takeover_sources
from wgfleet.panel.services.moves.relays import RelayVia
from wgfleet.panel.services.moves.takeover_sources import TakeoverSources
from wgfleet.panel.store import Tx, given_up
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.operations import MoveRow, MovingPeer
from wgfleet.panel.store.sessions import LastSession
from wgfleet.panel.store.tables import Operation
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import host_network
from wgfleet.protocol.ids import NodeId, PeerId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.reasons import Reason, template

CALL_AGAIN_S = 5.0
SOME = 3  # calls in vain
APART = template(
    "the clocks of the nodes are {seconds} s apart, and clients refuse calls until so much time has passed; run NTP"
)
Pending = tuple[MoveRow, MovingPeer]
PLANNED = {OperationKind.DRAIN, OperationKind.REBALANCE, OperationKind.MOVE_PEERS}


@dataclass(frozen=True, slots=True)
class TakeoverCall:
    """A live peer that a node is to call at its last endpoint (`ADDRESS:PORT`).

    `source` is the floating address to call from, None: whichever the node takes by itself. `attempts`: calls that were
    not answered. `via`: through whom it is called; None: at that endpoint itself. `from_node_id`: the
    node that loses it.
    """

    peer_id: str
    public_key: str
    endpoint: str
    node_id: str
    source: str | None = None
    attempts: int = 0
    via: RelayVia | None = None
    from_node_id: str = ""


def due(
    tx: Tx, vault: Vault, operation_id: str, *, live_within_s: float, reachable: Collection[str] | None = None
) -> tuple[str, list[TakeoverCall]]:
    """Settle what needs no call, and return the interface with the calls that are left.

    Idle peers are moved once their new node has them; a peer that shook hands elsewhere meanwhile has moved by itself.
    `reachable`: the nodes whose agents answer (None: all).
    """
    operation = operations.get(tx, operation_id)
    config = configs.get(tx, operation.config_id or "")
    if operation.cancelled_by is not None:  # since this round was decided on
        return config.name, []
    if operation.node_id is not None:
        steps.note_arrivals(tx, steps.load(tx, operation_id), live_within_s)
    pending: Sequence[Pending] = operation_rows.pending(tx, operation_id)
    having = Having(tx, config.id, reachable)
    # Nothing is lost while a planned move waits for its node, whose agent may be about to connect.
    spared = placement.cordoned(tx, config.id) if operation.kind in PLANNED else set()
    pending = _turned_away(tx, operation, pending, having, spared)
    targets = {
        moving.peer_id: target for moving, peer in pending if (target := having.target(moving, peer)) is not None
    }
    latest = session_rows.latest(tx, [moving.peer_id for moving, _ in pending if moving.live])
    waiting = _mark_done(tx, operation, pending, targets, latest)
    if operation.node_id is not None and not any(moving.live and not moving.attempts for moving, _ in waiting):
        # Every client that can be called from an address of the new nodes has been: the others need the floating one.
        holders.empty(tx, config.id, operation.node_id)
    waiting += _pulled_back(tx, operation, targets, having)
    sources = takeover_sources.of_config(tx, vault, config.id)
    latest |= session_rows.latest(tx, [moving.peer_id for moving, _ in waiting if moving.peer_id not in latest])
    calls = [_call(moving, peer, targets, latest, sources) for moving, peer in waiting if moving.live]
    peers = {moving.peer_id: peer for moving, peer in waiting}
    possible = [call for call in calls if call is not None and having.peer(call.node_id, peers[call.peer_id])]
    return config.name, relays.through(tx, operation, config, possible)


def _pulled_back(tx: Tx, operation: Operation, targets: dict[str, str], having: "Having") -> list[Pending]:
    """Return sessions that were taken over from a node that cannot drop them, and have not been heard of for a while.

    That node pulls them back with its next packet, so they are called again; where they are to be called is added to
    `targets`.
    """
    assignment = assignment_rows.get(tx, operation.config_id or "", operation.node_id or "")
    if (
        operation.kind is not OperationKind.REMOVE_NODE
        or assignment is None
        or not steps.serves_unheard(tx, assignment)
    ):
        return []
    moves = operation_rows.moves(tx, operation.id)
    taken = operation_rows.taken_over(tx, operation.id)
    sessions = session_rows.latest(tx, taken)
    found = []
    for peer in operation_rows.moving_peers(tx, taken):
        session, moving = sessions.get(peer.id), moves[peer.id]
        target = having.target(moving, peer)
        if target is None or (session is not None and clock.steady() - session.seen_at < CALL_AGAIN_S):
            continue
        targets[peer.id] = target
        found.append((moving, peer))
    return found


def _mark_done(
    tx: Tx,
    operation: Operation,
    pending: Sequence[Pending],
    targets: Mapping[str, str],
    latest: Mapping[str, LastSession],
) -> list[Pending]:
    """Write down which moves are done without a call; return the others."""
    done: list[Pending] = []
    waiting: list[Pending] = []
    for moving, peer in pending:
        session = latest.get(moving.peer_id)
        elsewhere = session is not None and session.node_id != moving.from_node_id
        # Nobody calls a peer that is disabled or restricted: no node is to have it.
        settled = elsewhere or not peer.admitted or (not moving.live and moving.peer_id in targets)
        (done if settled else waiting).append((moving, peer))
    if done:
        drop = [moving.peer_id for moving, _ in done if moving.live]
        _mark_moved(tx, operation, [moving.peer_id for moving, _ in done], drop=drop)
    return waiting


def _call(
    moving: MoveRow,
    peer: MovingPeer,
    targets: Mapping[str, str],
    latest: Mapping[str, LastSession],
    sources: TakeoverSources,
) -> TakeoverCall | None:
    """Return who is to call a live peer next, at its last endpoint; None: nobody just yet."""
    session = latest.get(moving.peer_id)
    endpoint = session.endpoint if session is not None and session.endpoint else moving.endpoint
    if not endpoint:
        return None
    source = sources.choose(
        moving.from_node_id,
        endpoint,
        moving.attempts,
        targets.get(moving.peer_id),
        known=session.called_from if session is not None else None,
    )
    if source is None:
        return None
    return TakeoverCall(
        moving.peer_id,
        peer.public_key,
        endpoint,
        source.node_id,
        source.address,
        moving.attempts,
        from_node_id=moving.from_node_id,
    )


class Having:
    """Which nodes of a config can call which peers. Nothing is said against those in `well`."""

    def __init__(self, tx: Tx, config_id: str, reachable: Collection[str] | None) -> None:
        serving = {
            assignment.node_id: assignment
            for assignment, _ in assignment_rows.of_config(tx, config_id)
            if assignment.phase == Phase.SERVING and assignment.health.in_use
        }
        self._applied = {node_id: assignment.applied_generation for node_id, assignment in serving.items()}
        self.well = {
            node_id
            for node_id, assignment in serving.items()
            if assignment.health == Health.SERVING and (reachable is None or node_id in reachable)
        }
        self._given_up = given_up.of_config(tx, config_id)

    def target(self, moving: MoveRow, peer: MovingPeer) -> str | None:
        """Return the node that is to have a peer, once it has it."""
        node_id = self.planned(moving, peer)
        return node_id if node_id is not None and self.peer(node_id, peer) else None

    def planned(self, moving: MoveRow, peer: MovingPeer) -> str | None:
        """Return the node that is to have a peer: its present home where the planned one went away."""
        node_id = moving.to_node_id if moving.to_node_id in self._applied else peer.home_node_id
        return node_id if node_id != moving.from_node_id else None

    def peer(self, node_id: str, peer: MovingPeer) -> bool:
        """Tell whether a node has a peer now."""
        has_had = self._applied.get(node_id, 0) >= peer.generation
        return has_had and peer.public_key not in self._given_up.get(node_id, ())


def _turned_away(
    tx: Tx, operation: Operation, pending: Sequence[Pending], having: Having, spared: Collection[str]
) -> Sequence[Pending]:
    """Have sessions on their way to a node that may be dead, or calls nobody, go to one that is well and not spared.

    Those that somebody chose a destination for go nowhere else: they stay until it is well, or are left behind. Return
    all that is pending, as it is then.
    """
    config_id = operation.config_id or ""
    chosen = operation.kind is OperationKind.MOVE_PEERS
    wanted = operations.options_of(operation, PeerMoveOptions).nodes if chosen else None
    stranded: dict[str, list[Pending]] = defaultdict(list)
    targets: dict[str, str] = {}
    for moving, peer in pending:
        if moving.live and (planned := having.planned(moving, peer)) is not None and planned not in having.well:
            stranded[moving.from_node_id].append((moving, peer))
    for from_node_id, found in stranded.items():
        others = placement.candidates(tx, config_id, without={from_node_id, *spared}, well=True)
        able = having.well if wanted is None else having.well.intersection(wanted)
        nodes = [candidate for candidate in others if candidate.node_id in able]
        stray = [(peer.id, peer.group_id) for _, peer in found]
        homes = placement.choose(tx, config_id, stray, nodes, overflow=True).homes
        targets.update({str(peer_id): str(node_id) for peer_id, node_id in homes.items()})
    if not targets:
        return pending
    operation_rows.redirect(tx, operation.id, targets)
    rehomed = {moving.peer_id for moving, _ in pending if moving.rehomed}
    peer_rows.rehome(tx, {PeerId(id_): NodeId(node) for id_, node in targets.items() if id_ in rehomed})
    return [
        (
            moving._replace(to_node_id=targets.get(moving.peer_id, moving.to_node_id)),
            peer._replace(home_node_id=targets.get(peer.id, peer.home_node_id)) if moving.rehomed else peer,
        )
        for moving, peer in pending
    ]


def record_answers(
    tx: Tx,
    operation_id: str,
    node_id: str,
    answered: Mapping[str, str],
    unanswered: Collection[str] = (),
    sources: Mapping[str, str] | None = None,
) -> int | None:
    """Write down who answered `node_id`, and at which endpoint, before the node itself reports those sessions.

    The old node then drops those peers, or its next packet would turn them back: return its generation without them,
    None where there are none. `sources`: the floating address that each was called from, where it was one; the next
    call to it is tried from there first.
    """
    session_rows.arrived(tx, node_id, answered, clock.steady(), sources)
    operation = operations.get(tx, operation_id)
    if operation.finished_at is not None:
        return None
    operation_rows.tried_again(tx, operation_id, unanswered)
    waiting = operation_rows.unsettled(tx, operation_id)
    moved = [peer_id for peer_id in answered if peer_id in waiting]
    dropped_generation = _mark_moved(tx, operation, moved, drop=moved)
    apart_s = steps.clock_spread_s(tx, operation.config_id or "")
    if apart_s and operation_rows.called_in_vain(tx, operation_id, SOME):
        tx.refresh(operation)
        operations.explain_wait(tx, operation, Reason(APART, seconds=round(apart_s)))
    return dropped_generation


def networks(tx: Tx, peer_ids: Collection[str]) -> dict[PublicKey, tuple[str, ...]]:
    """Return by public key what peers send from: their addresses, and the networks behind them."""
    found = peer_rows.by_ids(tx, peer_ids)
    addresses = peers.addresses(tx, found)
    return {
        PublicKey(peer.public_key): (*map(host_network, addresses.get(peer.id, ())), *peer.networks) for peer in found
    }


def _mark_moved(tx: Tx, operation: Operation, peer_ids: Collection[str], *, drop: Collection[str]) -> int | None:
    """Write down that peers have moved. `drop`: those that their old nodes have to drop, from which generation on."""
    dropped_generation = None
    if drop:
        # The old node's rendering leaves these out from this generation on.
        dropped_generation = generations.bump(tx, operation.config_id or "", topic=Topic.PEERS)
        peer_rows.touch(tx, drop, dropped_generation)
    operation_rows.set_move_states(tx, operation.id, peer_ids, MoveState.MOVED)
    progress = MoveProgress(**asdict(steps.counts(tx, operation.id)), dropped_generation=dropped_generation)
    operations.advance(tx, operation.id, MoveStep.TAKEOVER, progress)
    return dropped_generation
