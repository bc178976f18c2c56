"""Moves of chosen peers: they get homes on one node, or on the nodes of a group, and live sessions are brought there.

Who moves is written down when it is asked for (`store.peer_changes`); which nodes a group has, and whether those can
have the peers, is looked at again when homes are given. There is room for all of them, or none moves.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.moves import MoveView
from wgfleet.panel.domain.operations import MoveProgress, OperationKind, PeerMoveOptions
from wgfleet.panel.domain.placement.place import Candidate
from wgfleet.panel.errors import Conflict, Exhausted, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs, generations, operations
from wgfleet.panel.services.fleet import placement
from wgfleet.panel.services.floating import addresses
from wgfleet.panel.services.moves import steps
from wgfleet.panel.store import Tx
from wgfleet.panel.store import node_groups as node_group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peer_changes as change_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Config, Operation, Peer
from wgfleet.protocol.ids import NodeId, PeerId

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
        return f"node {self.name!r}" if self.group_id is None else f"the nodes of group {self.name!r}"

    @property
    def has(self) -> str:
        """The verb after `described`."""
        return "has" if self.group_id is None else "have"


@dataclass(frozen=True, slots=True)
class PlacedPeers:
    """What becomes of chosen peers: the homes that some get, and how many have theirs there already."""

    homes: Mapping[PeerId, NodeId]
    before: Mapping[PeerId, NodeId]
    staying: int


def destination(tx: Tx, reference: str, within: Limit | None = None) -> Destination:
    """Return the node or the node group of an id or a name. What is not `within` a limit is not there."""
    node, group = node_rows.find(tx, reference), node_group_rows.find(tx, reference)
    if within is not None:
        node = node if node is not None and node.group_id in within.groups else None
        group = group if group is not None and group.id in within.groups else None
    if node is not None and group is not None:
        raise Conflict(f"{reference!r} is a node and a node group; give the id of the one that is meant", field=FIELD)
    if group is not None:
        return Destination(group.name, tuple(each.id for each in node_group_rows.nodes(tx, group.id)), group.id)
    if node is None:
        hints = Hint(HintCode.LIST_NODES), Hint(HintCode.LIST_NODE_GROUPS)
        raise NotFound(f"there is no node and no node group {reference!r}", *hints, field=FIELD)
    return Destination(node.name, (node.id,))


def foresee(tx: Tx, config: Config, peer_ids: Collection[str], to: Destination, live_within_s: float) -> list[str]:
    """Say who notices; raise where they cannot move."""
    found = _placed(tx, config, peer_ids, to)
    said = [f"{_peers(len(found.homes))} a home on {to.described}; {found.staying} have it there already"]
    if addresses.listed(tx, config.id):
        said.append("nobody who is connected notices: devices go where the floating addresses are")
        return said
    homes = {**found.before, **found.homes}
    called = sum(
        homes.get(PeerId(peer_id)) != node_id for peer_id, node_id, _ in _live(tx, config, homes, live_within_s)
    )
    if called:
        said.append(
            f"{called} connected now are called by the node of their new home; who does not answer it stays where "
            "that one is, and is not cut off"
        )
    then = "the next rebalance of the config may bring them elsewhere"
    said.append(then if to.group_id is None else "they prefer that group from now on")
    return said


def _peers(count: int) -> str:
    return "1 peer gets" if count == 1 else f"{count} peers get"


def start(
    tx: Tx, actor: str, config: Config, to: Destination, words: Mapping[str, str], *, grace_s: float
) -> Operation:
    """Begin to move peers, who are written down by the caller in this transaction. `words`: how they were chosen."""
    earlier = operation_rows.newest(tx, OperationKind.MOVE_PEERS, config.id)
    if earlier is not None and earlier.finished_at is None:
        raise Conflict(f"operation {earlier.id} moves peers of {config.name!r} now; wait for its end, or cancel it")
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


def check(tx: Tx, config: Config, peer_ids: Collection[str], to: Destination) -> None:
    """Raise where peers cannot move."""
    _placed(tx, config, peer_ids, to)


def _placed(tx: Tx, config: Config, peer_ids: Collection[str], to: Destination) -> PlacedPeers:
    if config.mode != configs.CLUSTER:
        raise Conflict(
            f"peers of config {config.name!r} choose their node by their file: it is independent", field=FIELD
        )
    candidates = _candidates(tx, config, to)
    found = peer_rows.by_ids(tx, peer_ids)
    moving = sorted(peer.id for peer in found if peer.home_node_id not in {each.node_id for each in candidates})
    made = placement.choose(tx, config.id, [(peer_id, None) for peer_id in moving], candidates)
    if len(made.homes) < len(moving):
        hint = Hint(HintCode.RAISE_CAPACITY, node=to.name if to.group_id is None else None)
        raise Exhausted(f"{to.described} {to.has} room for {len(made.homes)} of {len(moving)} peers", hint, field=FIELD)
    return PlacedPeers(made.homes, _homes(found), len(found) - len(moving))


def _homes(found: Sequence[Peer]) -> dict[PeerId, NodeId]:
    return {PeerId(peer.id): NodeId(peer.home_node_id) for peer in found if peer.home_node_id is not None}


def _candidates(tx: Tx, config: Config, to: Destination) -> list[Candidate]:
    there = [each for each in placement.candidates(tx, config.id) if each.node_id in to.nodes]
    if not there:
        hint = Hint(HintCode.ASSIGN_NODE, config=config.name)
        why = "it does not serve it now" if to.group_id is None else "none serves it now"
        raise Conflict(f"{to.described} cannot get peers of config {config.name!r}: {why}", hint, field=FIELD)
    free = [each for each in there if not each.cordoned]
    if not free:
        hint = Hint(HintCode.UNCORDON_NODE, node=to.name if to.group_id is None else None)
        raise Conflict(f"{to.described} cannot get peers: cordoned", hint, field=FIELD)
    return free


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
    """Give the peers their homes, and write down which sessions have to move; one transaction for all."""
    operation = operations.get(tx, operation_id)
    if operations.progress_of(operation, MoveProgress).placed:
        return
    config = configs.get(tx, operation.config_id or "")
    generations.bump(tx, config.id)
    now, to = clock.now(), _to(tx, operation)
    peer_ids = change_rows.waiting(tx, operation.id, None)
    found = _placed(tx, config, peer_ids, to)
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
            raise NotFound(f"there is no node {options.to!r} any more", field=FIELD)
        return Destination(options.to, options.nodes)
    group = node_group_rows.find(tx, options.group_id)
    if group is None:
        raise NotFound(f"there is no such group: node group {options.to!r} was deleted meanwhile", field=FIELD)
    return Destination(group.name, tuple(each.id for each in node_group_rows.nodes(tx, group.id)), group.id)


def over(tx: Tx, operation_id: str) -> str | None:
    """Say why there is nothing more to move: it was cancelled, or nobody can have them any more. Else None."""
    operation = operations.get(tx, operation_id)
    if operation.cancelled_by is not None:
        return f"cancelled by {operation.cancelled_by}; peers that have a new home keep it"
    if operations.progress_of(operation, MoveProgress).placed:
        return None if steps.in_use(tx, operation.config_id or "") else "no node carries the config any more"
    try:
        config, peer_ids = configs.get(tx, operation.config_id or ""), change_rows.waiting(tx, operation.id, None)
        check(tx, config, peer_ids, _to(tx, operation))
    except (Conflict, NotFound) as error:
        return error.detail
    return None


def close(tx: Tx, operation_id: str) -> None:
    """End it; the nodes that lost sessions may have those peers again."""
    operation = operations.get(tx, operation_id)
    if operation.finished_at is None:
        reason = over(tx, operation_id)
        change_rows.give_up(tx, operation_id)
        result = steps.finish(tx, operation_id, reason)
        audit.record(
            tx, operation.requested_by, "peers_moved", "config", operation.subject,
            state=operation.state, operation=operation.id, **result,
        )  # fmt: skip
