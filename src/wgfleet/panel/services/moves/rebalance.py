"""Rebalances: all homes of a config are spread over its nodes again, and live sessions are brought home."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain.moves import MoveView
from wgfleet.panel.domain.operations import MoveOptions, MoveProgress, OperationKind
from wgfleet.panel.domain.placement.place import spread
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs, generations, operations
from wgfleet.panel.services.fleet import placement
from wgfleet.panel.services.floating import addresses
from wgfleet.panel.services.moves import address_move, steps
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import homes as home_counts
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Config, Operation
from wgfleet.protocol.ids import NodeId, PeerId
from wgfleet.protocol.reasons import Reason


def start(tx: Tx, actor: str, config: Config, *, grace_s: float) -> Operation:
    """Begin to spread all homes of a config again; asked again while it runs, it is the same operation."""
    generations.bump(tx, config.id)
    earlier = operation_rows.newest(tx, OperationKind.REBALANCE, config.id)
    if earlier is not None and earlier.finished_at is None:
        return earlier
    if not placement.candidates(tx, config.id):
        raise Conflict(
            Reason("no node serves config {config!r}", config=config.name),
            Hint(HintCode.ASSIGN_NODE, config=config.name),
        )
    operation = operations.start(
        tx,
        actor,
        OperationKind.REBALANCE,
        config.id,
        config_id=config.id,
        node_id=None,
        options=MoveOptions(drain_window_s=steps.default_window(tx, config, grace_s)),
    )
    audit.record(tx, actor, "rebalance_started", "config", config.id, name=config.name, operation=operation.id)
    return operation


def view(tx: Tx, operation_id: str) -> MoveView:
    """Read where a rebalance stands."""
    config_id = operations.get(tx, operation_id).config_id or ""
    return steps.view(tx, operation_id, over=over(tx, operation_id), sources=steps.in_use(tx, config_id))


def place(tx: Tx, operation_id: str, *, live_within_s: float) -> None:
    """Give peers their new homes, and write down which sessions have to move; one transaction for all."""
    operation = operations.get(tx, operation_id)
    if operations.progress_of(operation, MoveProgress).placed:
        return
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
    own = home_counts.in_config(tx, config.id)
    others = [replace(c, load=c.load - own.get(c.node_id, 0)) for c in candidates]
    # In the order of their ids, so that asked twice in a row there is nothing to do the second time.
    wanted = sorted(placement.unplaced(tx, config.id, peers), key=lambda peer: peer.peer_id)
    new = spread(wanted, homes, others, placement.strategy(tx, config.id))
    peer_rows.rehome(tx, new)
    live: dict[str, tuple[str, str]] = {}
    if addresses.listed(tx, config.id):
        # Its clients go where the addresses go, and would not find their way to a home by another.
        address_move.spread(tx, operation.requested_by, config)
    elif config.mode == configs.CLUSTER:
        for node_id in steps.in_use(tx, config.id):
            found = session_rows.live_on(tx, node_id, config.id, clock.steady() - live_within_s)
            live |= {peer_id: (node_id, endpoint) for peer_id, endpoint in found}
    serving = {candidate.node_id for candidate in candidates}
    peer_rows.add_moves(tx, list(_moves(operation.id, homes, new, live, serving)))
    steps.note_placed(tx, operation, now)
    audit.record(tx, audit.PANEL, "peers_migrated", "config", config.id, name=config.name, peers=len(new))


def _moves(
    operation_id: str,
    homes: Mapping[PeerId, NodeId],
    new: Mapping[PeerId, NodeId],
    live: Mapping[str, tuple[str, str]],
    serving: Collection[str],
) -> Iterator[dict[str, Any]]:
    """Give the row of each peer that has a new home, or a session elsewhere than at home."""
    for peer_id, home in sorted(({**homes, **new}).items()):
        node_id, endpoint = live.get(peer_id, (None, None))
        if node_id is not None and node_id != home and home in serving:
            yield steps.move(operation_id, peer_id, node_id, home, endpoint, rehomed=peer_id in new)
        elif peer_id in new and peer_id in homes:
            yield steps.move(operation_id, peer_id, homes[peer_id], home, None, rehomed=True)


def over(tx: Tx, operation_id: str) -> str | None:
    """Say why there is nothing more to move: it was cancelled, or no node is left. Else None."""
    operation = operations.get(tx, operation_id)
    if operation.cancelled_by is not None:
        return Reason(
            "cancelled by {cancelled_by}; peers that have a new home keep it", cancelled_by=operation.cancelled_by
        )
    carriers = assignment_rows.of_config(tx, operation.config_id or "")
    return None if carriers else Reason("no node carries the config any more")


def close(tx: Tx, operation_id: str) -> None:
    """End it; the nodes that lost sessions may have those peers again."""
    operation = operations.get(tx, operation_id)
    if operation.finished_at is None:
        result = steps.finish(tx, operation_id, over(tx, operation_id))
        audit.record(
            tx, operation.requested_by, "rebalanced", "config", operation.subject, state=operation.state, **result
        )
