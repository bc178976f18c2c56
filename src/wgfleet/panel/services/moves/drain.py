"""Planned moves of peers, without loss: a node is emptied and comes back, or all homes are spread anew.

Cordoned nodes get no new homes. Must not take an assignment away: that is `removals`.
"""

from collections.abc import Sequence
from dataclasses import replace

from wgfleet.panel import clock
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.domain.placement.place import spread
from wgfleet.panel.errors import Conflict, Exhausted
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs, generations, operations
from wgfleet.panel.services.fleet import cordons, placement
from wgfleet.panel.services.floating import holders
from wgfleet.panel.services.moves import address_move, removal, steps
from wgfleet.panel.services.moves.steps import PLACED
from wgfleet.panel.services.operations import DRAIN, REBALANCE
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Config, Node, Operation
from wgfleet.protocol.ids import NodeId, PeerId

URGENT = False


def drain(
    tx: Tx, actor: str, node: Node, *, grace_s: float, force: bool = False, drain_window_s: float | None = None
) -> list[Operation]:
    """Cordon a node and begin to move its peers away, an operation for each config that it serves; it stays assigned.

    Asked again while it runs, they are the same operations. `force`: also where fewer than `min_nodes` are left or room
    is short; what no other node can have stays. `drain_window_s`: as that of a removal.
    """
    served = sorted(assignment_rows.of_node(tx, node.id), key=lambda pair: pair[1].id)
    started: list[Operation] = []
    for assignment, config in served:
        if assignment.phase != Phase.SERVING:
            continue
        generations.bump(tx, config.id)
        about = operations.subject(config.id, node.id)
        earlier = operation_rows.newest(tx, DRAIN, about)
        if earlier is not None and earlier.finished_at is None:
            started.append(earlier)
            continue
        if not force:
            _check_config(tx, config, [node])
        window = removal.default_window(tx, config, grace_s) if drain_window_s is None else drain_window_s
        options = {"force": force, "drain_window_s": window}
        operation = operations.start(tx, actor, DRAIN, about, config_id=config.id, node_id=node.id, options=options)
        audit.record(
            tx, actor, "drain_started", "config_node", about,
            config=config.name, node=node.name, operation=operation.id, force=force,
        )  # fmt: skip
        started.append(operation)
    cordons.cordon(tx, actor, node)
    return started


def check_room(tx: Tx, leaving: Sequence[Node]) -> None:
    """Refuse to empty nodes where that leaves too few others in use, or too little room for the peers."""
    carried: dict[str, Config] = {}
    for node in leaving:
        carried |= {config.id: config for a, config in assignment_rows.of_node(tx, node.id) if a.phase == Phase.SERVING}
    for config in carried.values():
        _check_config(tx, config, leaving)


def _check_config(tx: Tx, config: Config, leaving: Sequence[Node]) -> None:
    group = endpoint_group_rows.get(tx, config.id)
    least = max(1, group.min_nodes if group else 1)
    others = [c for c in placement.candidates(tx, config.id, without={n.id for n in leaving}) if not c.cordoned]
    names = ("node " if len(leaving) == 1 else "nodes ") + ", ".join(repr(node.name) for node in leaving)
    if len(others) < least:
        raise Conflict(
            f"without {names} config {config.name!r} would be left with {len(others)} of at least {least} "
            "nodes in use (min_nodes)",
            Hint(HintCode.ASSIGN_NODE, config=config.name),
            Hint(HintCode.UNCORDON_NODE),
            Hint(HintCode.FORCE),
        )
    homes = [peer for node in leaving for peer in peer_rows.homed_on(tx, node.id, config.id)]
    left = placement.choose(tx, config.id, homes, others).left
    if left:
        raise Exhausted(
            f"the other nodes of config {config.name!r} have no room for {len(left)} of {len(homes)} peers of {names}",
            Hint(HintCode.RAISE_CAPACITY),
            Hint(HintCode.ASSIGN_NODE, config=config.name),
            Hint(HintCode.FORCE),
        )


def rebalance(tx: Tx, actor: str, config: Config, *, grace_s: float) -> Operation:
    """Begin to spread all homes of a config anew; asked again while it runs, it is the same operation."""
    generations.bump(tx, config.id)
    earlier = operation_rows.newest(tx, REBALANCE, config.id)
    if earlier is not None and earlier.finished_at is None:
        return earlier
    if not placement.candidates(tx, config.id):
        raise Conflict(f"no node serves config {config.name!r}", Hint(HintCode.ASSIGN_NODE, config=config.name))
    options = {"drain_window_s": removal.default_window(tx, config, grace_s)}
    operation = operations.start(tx, actor, REBALANCE, config.id, config_id=config.id, node_id=None, options=options)
    audit.record(tx, actor, "rebalance_started", "config", config.id, name=config.name, operation=operation.id)
    return operation


def sources(tx: Tx, operation_id: str) -> list[str]:
    """Return the nodes whose sessions an operation has to know before it places peers."""
    operation = operations.get(tx, operation_id)
    if operation.node_id is not None:
        return [operation.node_id]
    found = assignment_rows.of_config(tx, operation.config_id or "")
    return [a.node_id for a, _ in found if a.phase == Phase.SERVING and a.health.in_use]


def place(tx: Tx, operation_id: str, *, live_within_s: float) -> None:
    """Give peers their new homes, and write down which sessions have to move; one transaction for all."""
    operation = operations.get(tx, operation_id)
    if operation.kind == DRAIN:
        steps.place(tx, operation_id, live_within_s=live_within_s, stays=True)
    elif PLACED not in operation.progress:
        _spread(tx, operation, live_within_s)


def _spread(tx: Tx, operation: Operation, live_within_s: float) -> None:
    config = configs.get(tx, operation.config_id or "")
    generations.bump(tx, config.id)
    now = clock.now()
    homes: dict[PeerId, NodeId] = {}
    peers: list[tuple[str, str | None]] = []
    for node_id in [None, *(a.node_id for a, _ in assignment_rows.of_config(tx, config.id))]:
        for peer_id, group_id in peer_rows.homed_on(tx, node_id, config.id):
            peers.append((peer_id, group_id))
            if node_id is not None:
                homes[PeerId(peer_id)] = NodeId(node_id)
    candidates = placement.candidates(tx, config.id)
    own = assignment_rows.homes(tx, config.id)
    others = [replace(c, load=c.load - own.get(c.node_id, 0)) for c in candidates]
    # In the order of their ids, so that asked twice in a row there is nothing to do the second time.
    wanted = sorted(placement.unplaced(tx, peers), key=lambda peer: peer.peer_id)
    new = spread(wanted, homes, others, placement.strategy(tx, config.id))
    peer_rows.rehome(tx, new)
    after = homes | new
    live: dict[str, tuple[str, str]] = {}
    if holders.listed(tx, config.id):
        # Its clients go where the addresses go, and would not find their way to a home by another.
        address_move.spread(tx, operation.requested_by, config)
    elif config.mode == configs.CLUSTER:
        for node_id in sources(tx, operation.id):
            found = session_rows.live_on(tx, node_id, config.id, now - live_within_s)
            live |= {peer_id: (node_id, endpoint) for peer_id, endpoint in found}
    serving = {candidate.node_id for candidate in candidates}
    written = []
    for peer_id, home in sorted(after.items()):
        node_id, endpoint = live.get(peer_id, (None, None))
        if node_id is not None and node_id != home and home in serving:
            written.append(steps.move(operation.id, peer_id, node_id, home, endpoint, rehomed=peer_id in new))
        elif peer_id in new and peer_id in homes:
            written.append(steps.move(operation.id, peer_id, homes[peer_id], home, None, rehomed=True))
    peer_rows.add_moves(tx, written)
    progress = {PLACED: now + float(operation.options["drain_window_s"]), "started_at": operation.created_at}
    operations.advance(tx, operation.id, steps.PLACE, progress | steps.counts(tx, operation.id))
    audit.record(tx, audit.PANEL, "peers_migrated", "config", config.id, name=config.name, peers=len(new))


def over(tx: Tx, operation_id: str) -> str | None:
    """Say why there is nothing more to move: the reason in words, or None while there is."""
    operation = operations.get(tx, operation_id)
    config_id = operation.config_id or ""
    if operation.node_id is None:
        return None if assignment_rows.of_config(tx, config_id) else "no node carries the config any more"
    assignment = assignment_rows.get(tx, config_id, operation.node_id)
    node = node_rows.find(tx, operation.node_id)
    if assignment is None or assignment.phase != Phase.SERVING:
        return steps.REMOVING
    if not assignment.health.in_use:
        return f"the node is {assignment.health}: {assignment.health_reason}"
    return None if node is not None and node.cordoned else "the node was uncordoned"


def close(tx: Tx, operation_id: str) -> None:
    """End it with what came of it; the nodes that lost sessions may have those peers again."""
    operation = operations.get(tx, operation_id)
    if operation.finished_at is not None:
        return
    if operation.kind == DRAIN and over(tx, operation_id) is None:
        holders.empty(tx, operation.config_id or "", operation.node_id or "")
        if operation.node_id in holders.leaving(tx, operation.config_id or ""):
            operations.wake(tx, operation)  # it ends when the node has given its addresses up
            return
    result = steps.finish(tx, operation_id, over(tx, operation_id))
    entity = "config_node" if operation.kind == DRAIN else "config"
    action = "drained" if operation.kind == DRAIN else "rebalanced"
    audit.record(tx, operation.requested_by, action, entity, operation.subject, state=operation.state, **result)
