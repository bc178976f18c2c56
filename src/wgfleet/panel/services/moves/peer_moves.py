"""Moves of chosen peers: they get homes on one node, or on the nodes of a group, and live sessions are brought there.

Who moves is written down when it is asked for (`store.peer_changes`); which nodes a group has, and whether those can
have the peers, is looked at again when homes are given. There is room for all of them, or none moves.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.moves import MoveView
from wgfleet.panel.domain.operations import MoveProgress, OperationKind, PeerMoveOptions
from wgfleet.panel.domain.placement.place import Candidate
from wgfleet.panel.errors import Conflict, Exhausted, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs, generations, operations
from wgfleet.panel.services.fleet import node_agents, peer_nodes, placement
from wgfleet.panel.services.floating import addresses
from wgfleet.panel.services.moves import steps
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import node_groups as node_group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peer_changes as change_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Config, Operation, Peer
from wgfleet.protocol.ids import NodeId, PeerId
from wgfleet.protocol.reasons import Reason

FIELD = "to"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where peers are to move. `group_id` is None where it is one node; `nodes`: their ids."""

    name: str
    nodes: tuple[str, ...]
    group_id: str | None = None

    @property
    def id(self) -> str:
        """The id of the node or of the group."""
        return self.nodes[0] if self.group_id is None else self.group_id

    @property
    def described(self) -> str:
        """What sentences call it."""
        if self.group_id is None:
            return Reason("node {name!r}", name=self.name)
        return Reason("the nodes of group {name!r}", name=self.name)

    @property
    def has(self) -> str:
        """The verb after `described`."""
        return Reason("has") if self.group_id is None else Reason("have")


@dataclass(frozen=True, slots=True)
class PlacedPeers:
    """What becomes of chosen peers: the homes that some get, and how many have theirs there already."""

    homes: Mapping[PeerId, NodeId]
    before: Mapping[PeerId, NodeId]
    staying: int


def destination(tx: Tx, reference: str, within: Limit | None = None) -> Destination:
    """Return the node or the node group of an id or a name. What is not `within` a limit is not there."""
    node, group = peer_nodes.chosen(tx, reference, FIELD, within)
    if group is not None:
        return Destination(group.name, tuple(each.id for each in node_group_rows.nodes(tx, group.id)), group.id)
    if node is None:
        hints = Hint(HintCode.LIST_NODES), Hint(HintCode.LIST_NODE_GROUPS)
        raise NotFound(
            Reason("there is no node and no node group {reference!r}", reference=reference), *hints, field=FIELD
        )
    return Destination(node.name, (node.id,))


def foresee(tx: Tx, config: Config, peer_ids: Collection[str], to: Destination, live_within_s: float) -> list[str]:
    """Say who notices; raise where they cannot move."""
    found = _placed(tx, config, peer_ids, to)
    said: list[str] = [
        Reason(
            "{peers} a home on {to}; {staying} have it there already",
            peers=_peers(len(found.homes)),
            to=to.described,
            staying=found.staying,
        )
    ]
    if addresses.listed(tx, config.id):
        said.append(Reason("nobody who is connected notices: devices go where the floating addresses are"))
        return said
    homes = {**found.before, **found.homes}
    called = sum(
        homes.get(PeerId(peer_id)) != node_id for peer_id, node_id, _ in _live(tx, config, homes, live_within_s)
    )
    if called:
        said.append(
            Reason(
                "the node of their new home calls those who are connected now ({called}); who does not answer stays "
                "where he is, and is not cut off",
                called=called,
            )
        )
        said += _clocks(tx, config, to)
    then = Reason("the next rebalance of the config may bring them elsewhere")
    said.append(then if to.group_id is None else Reason("they prefer that group from now on"))
    return said


def _clocks(tx: Tx, config: Config, to: Destination) -> list[str]:
    """Name the nodes that are to call with a wrong clock."""
    called_by = (node for _, node in assignment_rows.of_config(tx, config.id) if node.id in to.nodes)
    warnings = ((node.name, node_agents.clock_warning(node)) for node in called_by)
    return [Reason("node {name!r}: {warning}", name=name, warning=warning) for name, warning in warnings if warning]


def _peers(count: int) -> str:
    return Reason("1 peer gets") if count == 1 else Reason("{count} peers get", count=count)


def start(
    tx: Tx, actor: str, config: Config, to: Destination, words: Mapping[str, str], *, grace_s: float
) -> Operation:
    """Begin to move peers, who are written down by the caller in this transaction. `words`: how they were chosen."""
    check_none_runs(tx, config)
    return operations.start(
        tx,
        actor,
        OperationKind.MOVE_PEERS,
        config.id,
        config_id=config.id,
        node_id=None,
        options=PeerMoveOptions(
            drain_window_s=steps.default_window(tx, config, grace_s),
            filter=dict(words),
            to=to.name,
            nodes=to.nodes,
            group_id=to.group_id,
        ),
    )


def check_none_runs(tx: Tx, config: Config) -> None:
    """Refuse a move while another operation moves chosen peers of the config."""
    earlier = operation_rows.newest(tx, OperationKind.MOVE_PEERS, config.id)
    if earlier is not None and earlier.finished_at is None:
        raise Conflict(
            Reason(
                "operation {operation} moves peers of {config!r} now; wait for its end, or cancel it",
                operation=earlier.id,
                config=config.name,
            )
        )


def check(tx: Tx, config: Config, peer_ids: Collection[str], to: Destination) -> None:
    """Raise where peers cannot move."""
    _placed(tx, config, peer_ids, to)


def _placed(tx: Tx, config: Config, peer_ids: Collection[str], to: Destination) -> PlacedPeers:
    if config.mode != configs.CLUSTER:
        raise Conflict(
            Reason("peers of config {config!r} choose their node by their file: it is independent", config=config.name),
            field=FIELD,
        )
    candidates = _candidates(tx, config, to)
    found = peer_rows.by_ids(tx, peer_ids)
    moving = sorted(peer.id for peer in found if peer.home_node_id not in {each.node_id for each in candidates})
    made = placement.choose(tx, config.id, [(peer_id, None) for peer_id in moving], candidates)
    if len(made.homes) < len(moving):
        hint = Hint(HintCode.RAISE_CAPACITY, node=to.name if to.group_id is None else None)
        raise Exhausted(
            Reason(
                "{to} {has} room for {placed} of {all} peers",
                to=to.described,
                has=to.has,
                placed=len(made.homes),
                all=len(moving),
            ),
            hint,
            field=FIELD,
        )
    return PlacedPeers(made.homes, _homes(found), len(found) - len(moving))


def _homes(found: Sequence[Peer]) -> dict[PeerId, NodeId]:
    return {PeerId(peer.id): NodeId(peer.home_node_id) for peer in found if peer.home_node_id is not None}


def _candidates(tx: Tx, config: Config, to: Destination) -> list[Candidate]:
    serving = [each for each in placement.candidates(tx, config.id) if each.node_id in to.nodes]
    # One whose agent is away calls nobody, and who is connected would not come.
    well = {row.node_id for row, _ in assignment_rows.of_config(tx, config.id) if row.health == Health.SERVING}
    there = [each for each in serving if each.node_id in well]
    if not there:
        hints = () if serving else (Hint(HintCode.ASSIGN_NODE, config=config.name),)
        why = _why_none(to, serves=bool(serving))
        raise Conflict(
            Reason("{to} cannot get peers of config {config!r}: {why}", to=to.described, config=config.name, why=why),
            *hints,
            field=FIELD,
        )
    free = [each for each in there if not each.cordoned]
    if not free:
        hint = Hint(HintCode.UNCORDON_NODE, node=to.name if to.group_id is None else None)
        raise Conflict(Reason("{to} cannot get peers: cordoned", to=to.described), hint, field=FIELD)
    return free


def _why_none(to: Destination, *, serves: bool) -> str:
    if serves:
        doubtful = Reason("its agent does not answer, or the node is in doubt; the health of the config says why")
        return doubtful if to.group_id is None else Reason("none that serves it is well now")
    return Reason("it does not serve it now") if to.group_id is None else Reason("none serves it now")


def _live(tx: Tx, config: Config, peers: Collection[PeerId], live_within_s: float) -> list[tuple[str, str, str]]:
    """Return of those of some peers who are connected the peer, the node and the endpoint."""
    since = clock.steady() - live_within_s
    return [
        (peer_id, node_id, endpoint)
        for node_id in steps.in_use(tx, config.id)
        for peer_id, endpoint in session_rows.live_on(tx, node_id, config.id, since)
        if peer_id in peers
    ]


def view(tx: Tx, operation_id: str) -> MoveView:
    """Read where a move stands."""
    config_id = operations.get(tx, operation_id).config_id or ""
    return steps.view(tx, operation_id, over=over(tx, operation_id), sources=steps.in_use(tx, config_id))


def place(tx: Tx, operation_id: str, *, live_within_s: float) -> None:
    """Give the peers their homes, and write down which sessions have to move; one transaction for all.

    Where nobody can have them any more it ends.
    """
    operation = operations.get(tx, operation_id)
    if operations.progress_of(operation, MoveProgress).placed:
        return
    config = configs.get(tx, operation.config_id or "")
    generations.hold(tx, config.id)
    now, peer_ids = clock.now(), change_rows.waiting(tx, operation.id, None)
    try:
        to = _to(tx, operation)
        found = _placed(tx, config, peer_ids, to)
    except (Conflict, NotFound) as error:
        _end(tx, operation, error.detail)
        return
    generations.bump(tx, config.id)
    peer_rows.rehome(tx, found.homes)
    if to.group_id is not None:
        peer_rows.set_group(tx, peer_ids, to.group_id)
    homes = {**found.before, **found.homes}
    live: dict[str, tuple[str, str]] = {}
    if not addresses.listed(tx, config.id):  # else its clients go where those go
        live = {peer: (node, endpoint) for peer, node, endpoint in _live(tx, config, homes, live_within_s)}
    moves = []
    for peer_id, home in sorted(homes.items()):
        node_id, endpoint = live.get(peer_id, (None, None))
        rehomed = peer_id in found.homes
        if node_id is not None and node_id != home:
            moves.append(steps.move(operation.id, peer_id, node_id, home, endpoint, rehomed=rehomed))
        elif rehomed and peer_id in found.before:
            moves.append(steps.move(operation.id, peer_id, found.before[peer_id], home, None, rehomed=True))
    peer_rows.add_moves(tx, moves)
    change_rows.give_up(tx, operation.id)
    steps.note_placed(tx, operation, now)
    audit.record(
        tx, operation.requested_by, "peers_migrated", "config", config.id,
        name=config.name, peers=len(found.homes), to=to.name, operation=operation.id,
    )  # fmt: skip


def _to(tx: Tx, operation: Operation) -> Destination:
    """Return where the peers are to move, as it is now: nodes that have left the group get none."""
    options = operations.options_of(operation, PeerMoveOptions)
    if options.group_id is None:
        if not all(node_rows.find(tx, node_id) for node_id in options.nodes):
            raise NotFound(Reason("there is no node {to!r} any more", to=options.to), field=FIELD)
        return Destination(options.to, options.nodes)
    group = node_group_rows.find(tx, options.group_id)
    if group is None:
        raise NotFound(
            Reason("there is no such group: node group {to!r} was deleted meanwhile", to=options.to), field=FIELD
        )
    return Destination(group.name, tuple(each.id for each in node_group_rows.nodes(tx, group.id)), group.id)


def over(tx: Tx, operation_id: str) -> str | None:
    """Say why there is nothing more to move: it was cancelled, or no node is left. Else None."""
    operation = operations.get(tx, operation_id)
    if operation.cancelled_by is not None:
        who = operation.cancelled_by
        return Reason("cancelled by {cancelled_by}; peers that have a new home keep it", cancelled_by=who)
    return None if steps.in_use(tx, operation.config_id or "") else Reason("no node carries the config any more")


def close(tx: Tx, operation_id: str) -> None:
    """End it; the nodes that lost sessions may have those peers again."""
    operation = operations.get(tx, operation_id)
    if operation.finished_at is None:
        _end(tx, operation, over(tx, operation_id))


def _end(tx: Tx, operation: Operation, reason: str | None) -> None:
    change_rows.give_up(tx, operation.id)
    result = steps.finish(tx, operation.id, reason)
    audit.record(
        tx, operation.requested_by, "peers_moved", "config", operation.subject,
        state=operation.state, operation=operation.id, **result,
    )  # fmt: skip
