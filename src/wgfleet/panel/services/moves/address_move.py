"""Address moves: a floating address goes to another node on request, and its clients' sessions go along.

The address moves at once, and its new holder takes the sessions of the old one over from it. That costs a client the
time from one node's giving it up to the handshake, some tenths of a second; a drain, which takes sessions over first,
costs nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from wgfleet.panel import clock
from wgfleet.panel.domain.moves import MoveView
from wgfleet.panel.domain.operations import AddressMoveOptions, MoveProgress, OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, configs, generations, operations
from wgfleet.panel.services.floating import addresses, brought, holders
from wgfleet.panel.services.moves import steps
from wgfleet.panel.store import Tx, shown_peers
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Config, FloatingAddress, Node, Operation
from wgfleet.protocol.reasons import Reason

BROUGHT_WITHIN_S = 45.0  # by its provider, or it stays where it is
SAME_S = 5.0  # between moves of several addresses of a node that were begun together
WINDOW_S = 15.0  # WireGuard's clients themselves ask for a new session when a node has been silent for so long


def start(tx: Tx, actor: str, config: Config, address: str, node: Node) -> Operation:
    """Begin to move an address to a node of its config; asked again while it runs, it is the same operation."""
    generations.bump(tx, config.id)
    row = _row(tx, config, address)
    earlier = operation_rows.newest(tx, OperationKind.MOVE_ADDRESS, address)
    if earlier is not None and earlier.finished_at is None:
        if _options(earlier).to_node_id == node.id:
            return earlier
        raise Conflict(
            Reason(
                "{address} is on its way to another node; wait for operation {operation}",
                address=address,
                operation=earlier.id,
            )
        )
    assignment = assignment_rows.get(tx, config.id, node.id)
    if assignment is None or assignment.phase != Phase.SERVING or not assignment.health.in_use:
        raise Conflict(
            Reason("node {node!r} does not serve config {config!r} at the moment", node=node.name, config=config.name),
            Hint(HintCode.LIST_CONFIG_NODES, config=config.name),
            field="node",
        )
    if row.holder_node_id == node.id:
        raise Conflict(Reason("{address} is with node {node!r} already", address=address, node=node.name), field="node")
    options = AddressMoveOptions(from_node_id=row.holder_node_id, to_node_id=node.id, drain_window_s=WINDOW_S)
    operation = operations.start(
        tx, actor, OperationKind.MOVE_ADDRESS, address, config_id=config.id, node_id=None, options=options
    )
    audit.record(
        tx, actor, "move_started", "floating_address", address,
        config=config.name, to_node=node.name, operation=operation.id,
    )  # fmt: skip
    return operation


def riders(tx: Tx, config: Config, address: str, live_within_s: float, most: int) -> tuple[int, list[str]]:
    """Return how many peers are connected at the holder of an address, and the names of up to `most` of them.

    Those of them who came by this address notice when it moves; by which address a peer came is not known.
    """
    row = _row(tx, config, address)
    if row.holder_node_id is None:
        return 0, []
    live = [each for each, _ in session_rows.live_on(tx, row.holder_node_id, config.id, clock.steady() - live_within_s)]
    return len(live), sorted(peer.name for peer in shown_peers.by_ids(tx, sorted(live)[:most]))


def spread(tx: Tx, actor: str, config: Config) -> None:
    """Begin to move as few addresses as it takes until each node has its share by weight."""
    _start_all(tx, actor, config, holders.spread(tx, config.id))


def rescue(tx: Tx, config_id: str, lapsed: Collection[str]) -> None:
    """Begin to move what nodes in use have lost, whose agents are dead; `lapsed`: their ids."""
    if found := holders.stranded(tx, config_id, lapsed):
        _start_all(tx, audit.PANEL, configs.get(tx, config_id), found)


def _start_all(tx: Tx, actor: str, config: Config, found: Mapping[str, Node]) -> None:
    for address, node in found.items():
        earlier = operation_rows.newest(tx, OperationKind.MOVE_ADDRESS, address)
        if earlier is None or earlier.finished_at is not None:
            start(tx, actor, config, address, node)


def _row(tx: Tx, config: Config, address: str) -> FloatingAddress:
    row = next(
        (row for row in floating_rows.of_config(tx, config.id) if row.address == address and not row.withdrawn), None
    )
    if row is None:
        raise NotFound(
            Reason(
                "config {config!r} has no floating address {address!r}; it has {list}",
                config=config.name,
                address=address,
                list=_list(tx, config),
            )
        )
    return row


def _list(tx: Tx, config: Config) -> str:
    return ", ".join(addresses.listed(tx, config.id)) or "none"


def _options(operation: Operation) -> AddressMoveOptions:
    return operations.options_of(operation, AddressMoveOptions)


def view(tx: Tx, operation_id: str) -> MoveView:
    """Read where an address move stands."""
    operation = operations.get(tx, operation_id)
    node_id = _options(operation).from_node_id
    found = steps.view(tx, operation_id, over=over(tx, operation_id), sources=[node_id] if node_id else [])
    if not _still_there(tx, operation):
        row = floating_rows.find(tx, operation.subject) if found.placed else None
        if row is None:
            return found
        # A provider may have brought it just now.
        return replace(found, drain_ends_at=max(found.drain_ends_at, row.since + WINDOW_S))
    until = max(found.drain_ends_at, operation.created_at + BROUGHT_WITHIN_S)
    return replace(found, unsettled=found.unsettled + 1, drain_ends_at=until)


def _still_there(tx: Tx, operation: Operation) -> bool:
    """Tell whether the address's provider has yet to bring it from the node that it is to leave."""
    found = brought.still_at(tx, operation.config_id or "", _options(operation).from_node_id)
    return any(row.address == operation.subject for row in found)


def place(tx: Tx, operation_id: str, *, live_within_s: float) -> None:
    """Give the address to its new node, and write down the sessions that it calls; one transaction for all."""
    operation = operations.get(tx, operation_id)
    if operations.progress_of(operation, MoveProgress).placed:
        return
    config_id, now = operation.config_id or "", clock.now()
    generations.bump(tx, config_id)
    from_node_id, to_node_id = _options(operation).from_node_id, _options(operation).to_node_id
    holders.give(tx, config_id, {operation.subject: to_node_id}, actor=operation.requested_by)
    live = (
        dict(session_rows.live_on(tx, from_node_id, config_id, clock.steady() - live_within_s)) if from_node_id else {}
    )
    # Who is called for another address of the node is called from this one in turn; two who call one fight over it.
    called = operation_rows.called_for_others(tx, operation, from_node_id, now - SAME_S) if from_node_id else set()
    written = [
        steps.move(operation_id, peer_id, from_node_id, to_node_id, endpoint, rehomed=False)
        for peer_id, endpoint in sorted(live.items())
        if from_node_id and peer_id not in called
    ]
    peer_rows.add_moves(tx, written)
    steps.note_placed(tx, operation, now)


def over(tx: Tx, operation_id: str) -> str | None:
    """Say why there is nothing more to do: the address is no longer its new node's to have. Else None."""
    operation = operations.get(tx, operation_id)
    to_node_id = _options(operation).to_node_id
    assignment = assignment_rows.get(tx, operation.config_id or "", to_node_id)
    if assignment is None or assignment.phase != Phase.SERVING or not assignment.health.in_use:
        return Reason("the node that was to have the address does not serve any more")
    row = floating_rows.find(tx, operation.subject)
    if row is None or row.withdrawn:
        return Reason("the address was taken off the list")
    placed = operations.progress_of(operation, MoveProgress).placed
    if placed and row.holder_node_id != to_node_id:
        return Reason("the address went to another node meanwhile")
    return None


def close(tx: Tx, operation_id: str) -> None:
    """End it. Sessions that did not answer came by other addresses, and stay where they are."""
    operation = operations.get(tx, operation_id)
    if operation.finished_at is None:
        reason, from_node_id = over(tx, operation_id), _options(operation).from_node_id or ""
        if _still_there(tx, operation):
            reason = reason or brought.delay(tx, operation.config_id or "", from_node_id)
            brought.give_back(tx, operation.config_id or "", from_node_id, {operation.subject})
        result = steps.finish(tx, operation_id, reason)
        audit.record(
            tx, operation.requested_by, "move_ended", "floating_address", operation.subject,
            state=operation.state, **result,
        )  # fmt: skip
