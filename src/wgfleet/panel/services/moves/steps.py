"""Steps that all operations that move peers share: new homes, the sessions that have to move, and the result.

Sessions are moved by `takeovers`. `kinds` says which operation takes which steps; each may be done again without harm.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain import clocks
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveState, MoveStep, MoveView
from wgfleet.panel.domain.operations import (
    MoveCounts,
    MoveOptions,
    MoveProgress,
    MoveResult,
    OperationKind,
    OperationState,
)
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.domain.placement.place import Candidate
from wgfleet.panel.hints import HintCode
from wgfleet.panel.services import audit, configs, generations, operations
from wgfleet.panel.services.fleet import assignments, nodes, placement
from wgfleet.panel.services.floating import holders
from wgfleet.panel.services.moves import relays
from wgfleet.panel.store import Tx, given_up
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Assignment, Config, Node, Operation
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.ids import PeerId
from wgfleet.protocol.observed import LIVE_S
from wgfleet.protocol.reasons import Reason

NAMED = 100  # peers, in a result
LONGEST_SPREAD_S = 3600.0
REMOVING = Reason("the node is being removed from the config")  # which does the same work


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
    if operations.progress_of(r.operation, MoveProgress).placed:
        return
    generations.bump(tx, r.config.id, topic=Topic.PEERS)
    now = clock.now()
    homed = peer_rows.homed_on(tx, r.node.id, r.config.id)
    without = {r.node.id} | (placement.cordoned(tx, r.config.id) if stays else set())
    nodes_left = placement.candidates(tx, r.config.id, without=without, well=True)
    serving = {candidate.node_id for candidate in nodes_left}
    nodes_left = _timely(tx, r.config.id, nodes_left, r.node)
    live: dict[str, str] = {}
    if r.config.mode == configs.CLUSTER:
        live = dict(session_rows.live_on(tx, r.node.id, r.config.id, clock.steady() - live_within_s))
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
    note_placed(tx, r.operation, now)
    audit.record(
        tx, audit.PANEL, "peers_migrated", "config_node", r.operation.subject,
        config=r.config.name, node=r.node.name, peers=len(rehomed), live=len(live), to=_shares(targets),
    )  # fmt: skip


def clock_spread_s(tx: Tx, config_id: str) -> float:
    """Return how far the clocks of a config's nodes are apart, in s, at most an hour; 0 where they are right enough.

    A client refuses a call that bears an earlier time than the last one it answered, so one by a node whose clock is
    behind is answered only when so much time has passed: sessions are called for that much longer.
    """
    ahead = [node.clock_ahead_s or 0.0 for _, node in assignment_rows.of_config(tx, config_id)]
    spread = max(ahead, default=0.0) - min(ahead, default=0.0)
    return min(spread, LONGEST_SPREAD_S) if spread > clocks.WARNING_S else 0.0


def _timely(tx: Tx, config_id: str, candidates: list[Candidate], source: Node) -> list[Candidate]:
    """Return the candidates whose clocks suit the clients of a node best, which they are to call.

    One that is behind the node's clock is not answered for so long; and after a call by one that is ahead, nobody else
    is. So: those that go with it, else those that are ahead of it, else all.
    """
    theirs = source.clock_ahead_s or 0.0
    ahead_s = {node.id: node.clock_ahead_s or 0.0 for _, node in assignment_rows.of_config(tx, config_id)}
    later_s = {each.node_id: ahead_s[each.node_id] - theirs for each in candidates}
    with_it = [each for each in candidates if abs(later_s[each.node_id]) <= clocks.WARNING_S]
    ahead = [each for each in candidates if later_s[each.node_id] > 0]
    return with_it or ahead or candidates


def default_window(tx: Tx, config: Config, grace_s: float) -> float:
    """Return how long a planned move waits for sessions that do not follow, in s: the name's TTL and some grace."""
    group = endpoint_group_rows.get(tx, config.id)
    return grace_s + (group.ttl if group else 0)


def note_arrivals(tx: Tx, r: Subject, live_within_s: float) -> int:
    """Have peers called that got a session on the draining node after its peers were placed; return how many.

    Also those that another node took over already, and that this one has called back before it dropped them.
    """
    if r.config.mode != configs.CLUSTER:
        return 0
    now_live = dict(session_rows.live_on(tx, r.node.id, r.config.id, clock.steady() - live_within_s))
    moves = operation_rows.moves(tx, r.operation.id)
    new = {
        peer_id: endpoint
        for peer_id, endpoint in now_live.items()
        if not (known := moves.get(peer_id)) or not known.live or known.state is MoveState.MOVED
    }
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
        "state": MoveState.PENDING if to_node_id else MoveState.LEFT,
        "attempts": 0,
    }


def view(tx: Tx, operation_id: str, *, over: str | None, sources: Collection[str]) -> MoveView:
    """Read where an operation stands. `over`, `sources`: see `MoveView`."""
    operation = operations.get(tx, operation_id)
    progress = operations.progress_of(operation, MoveProgress)
    return MoveView(
        kind=operation.kind,
        finished=operation.finished_at is not None,
        begun_at=operation.created_at,
        over=over is not None,
        placed=progress.placed,
        unsettled=unsettled(tx, operation_id),
        drain_ends_at=progress.window_ends_at + clock_spread_s(tx, operation.config_id or ""),
        sources=tuple(sources),
        unconfirmed=tuple(unconfirmed(tx, operation)) if progress.placed else (),
        taken_over=progress.taken_over or 0,
    )


def in_use(tx: Tx, config_id: str) -> list[str]:
    """Return the nodes that serve a config's peers now."""
    found = assignment_rows.of_config(tx, config_id)
    return [a.node_id for a, _ in found if a.phase == Phase.SERVING and a.health.in_use]


def unsettled(tx: Tx, operation_id: str) -> int:
    """Return how many of an operation's moves are neither done nor given up."""
    return sum(
        count for (state, _), count in operation_rows.tally(tx, operation_id).items() if state is MoveState.PENDING
    )


def unconfirmed(tx: Tx, operation: Operation) -> dict[str, str]:
    """Return the nodes (id, name) that lost sessions and have yet to drop those peers, before they have them again.

    So has the node that is emptied as long as it has a floating address.
    """
    generation = dropped_generation(operation)
    givers = operation_rows.givers(tx, operation.id)
    leaving = holders.leaving(tx, operation.config_id or "") & {operation.node_id}
    return {
        node.id: node.name
        for assignment, node in assignment_rows.of_config(tx, operation.config_id or "")
        if (assignment.node_id in givers or assignment.node_id in leaving)
        and assignment.phase in {Phase.SERVING, Phase.DRAINING}
        and assignment.health.in_use  # fenced nodes get no peer before they have dropped all
        and (assignment.applied_generation < generation or assignment.node_id in leaving)
    }


def dropped_generation(operation: Operation) -> int:
    """Return the generation from which the nodes that lost sessions have dropped those peers; 0: nobody lost any."""
    return operations.progress_of(operation, MoveProgress).dropped_generation or 0


def owe_drops(tx: Tx, operation: Operation) -> list[str]:
    """Note which nodes have yet to drop what an operation that ends took over from them, before they have it again.

    Of a failover not those that are out of use: its clients are called when they return in any case. Return the names
    of those that are in use, sorted.
    """
    generation = dropped_generation(operation)
    silent = unconfirmed(tx, operation)
    owing = set(silent)
    if operation.kind is not OperationKind.FAILOVER:
        owing |= {
            assignment.node_id
            for assignment, _ in assignment_rows.of_config(tx, operation.config_id or "")
            if not assignment.health.in_use and assignment.applied_generation < generation
        }
    given_up.owe(tx, operation.id, owing, generation)
    return sorted(silent.values())


def finish(tx: Tx, operation_id: str, reason: str | None) -> dict[str, Any]:
    """End an operation and return its result; the nodes that lost sessions may have those peers again.

    Those that have not said that they dropped them have them again when they have. `reason`: why it ended before
    everything had moved. One that took over none of its live sessions has failed.
    """
    operation = operations.get(tx, operation_id)
    silent = owe_drops(tx, operation)
    left = {moving.peer_id for moving, _ in operation_rows.pending(tx, operation_id) if moving.live}
    left |= {
        peer_id
        for peer_id, moving in operation_rows.moves(tx, operation_id).items()
        if moving.live and moving.state is MoveState.LEFT
    }
    give_up(tx, operation_id)
    taken = operation_rows.taken_over(tx, operation_id)
    if taken:
        peer_rows.touch(tx, taken, generations.bump(tx, operation.config_id or "", topic=Topic.PEERS))
    tally = counts(tx, operation_id)
    ways_out: tuple[str, ...] | None = None
    if reason is None and left and not tally.taken_over:
        reason = _nobody_moved(tx, operation, len(left))
        if operation.kind is OperationKind.DRAIN and not relays.relay_s(operation):
            ways_out = (HintCode.RELAY.value,)
    hanging = relays.relayed(tx, operation, taken)
    result = MoveResult(
        peers_migrated=operation_rows.rehomed(tx, operation_id),
        sessions_taken_over=tally.taken_over or 0,
        left_behind=tally.left or 0,
        seconds=round(clock.now() - operation.created_at, 3),
        unconfirmed=tuple(silent) or None,
        left=named(tx, left),
        relayed=named(tx, hanging),
        relay_ends_at=clock.now() + relays.relay_s(operation) if hanging else None,
        warnings=_warnings(silent, tally.taken_over or 0),
        reason=reason,
        ways_out=ways_out,
    )
    state = OperationState.SUCCEEDED if reason is None else OperationState.FAILED
    operations.finish(tx, operation_id, state, result)
    return operations.encode(result)


def _nobody_moved(tx: Tx, operation: Operation, count: int) -> str:
    whom = (
        Reason("its live client, which has")
        if count == 1
        else Reason("any of its {count} live clients, which have", count=count)
    )
    apart_s = clock_spread_s(tx, operation.config_id or "")
    why = (
        Reason(": the clocks of the nodes are {apart_s:.0f} s apart; run NTP on all of them", apart_s=apart_s)
        if apart_s
        else ""
    )
    return Reason("no other node got an answer of {whom} to connect again first{why}", whom=whom, why=why)


def _warnings(silent: Sequence[str], taken_over: int) -> tuple[str, ...] | None:
    if not silent or not taken_over:
        return None
    text = Reason(
        "not confirmed by {silent}: it may still have the peers that others took over, and pull them back; "
        "look at what has not reached it before you switch it off",
        silent=", ".join(silent),
    )
    return (text,)


def serves_unheard(tx: Tx, assignment: Assignment) -> bool:
    """Tell whether a node serves while its agent does not answer, so that it drops nobody."""
    node = node_rows.find(tx, assignment.node_id)
    return node is not None and not node.connected and assignment.health is Health.UNMANAGED


def left_behind(tx: Tx, r: Subject, *, unheard: bool) -> set[str]:
    """Return the peers whose sessions are on the node of an operation at its end, also those that came back.

    `unheard`: the node still has all peers and its agent does not answer, so those who were called away return.
    """
    moves = operation_rows.moves(tx, r.operation.id)
    left = {peer_id for peer_id, moving in moves.items() if moving.live and moving.state is MoveState.LEFT}
    if r.config.mode == configs.CLUSTER:
        left |= {peer_id for peer_id, _ in session_rows.live_on(tx, r.node.id, r.config.id, clock.steady() - LIVE_S)}
    return left | set(operation_rows.taken_over(tx, r.operation.id)) if unheard else left


def named(tx: Tx, peer_ids: Collection[str]) -> tuple[str, ...] | None:
    """Return the names of peers for a result, the first of many; None if there are none."""
    names = sorted(peer.name for peer in peer_rows.by_ids(tx, sorted(peer_ids)[:NAMED]))
    return tuple(names) or None


def give_up(tx: Tx, operation_id: str) -> None:
    """Leave behind the sessions that did not follow."""
    left = [moving.peer_id for moving, _ in operation_rows.pending(tx, operation_id)]
    operation_rows.set_move_states(tx, operation_id, left, MoveState.LEFT)


def counts(tx: Tx, operation_id: str) -> MoveCounts:
    """Count an operation's moves."""
    tally = operation_rows.tally(tx, operation_id)
    return MoveCounts(
        peers=sum(tally.values()),
        live=sum(count for (_, live), count in tally.items() if live),
        moved=tally.get((MoveState.MOVED, True), 0) + tally.get((MoveState.MOVED, False), 0),
        taken_over=tally.get((MoveState.MOVED, True), 0),
        left=tally.get((MoveState.LEFT, True), 0),
    )


def note_placed(tx: Tx, operation: Operation, now: float) -> None:
    """Write down that an operation's moves are written, and when the wait for sessions ends."""
    window_s = operations.options_of(operation, MoveOptions).drain_window_s
    progress = MoveProgress(
        **asdict(counts(tx, operation.id)), drain_ends_at=now + window_s, started_at=operation.created_at
    )
    operations.advance(tx, operation.id, MoveStep.PLACE, progress)


def _shares(targets: dict[str, str | None]) -> dict[str, int]:
    shares: dict[str, int] = {}
    for node_id in targets.values():
        if node_id is not None:
            shares[node_id] = shares.get(node_id, 0) + 1
    return shares
