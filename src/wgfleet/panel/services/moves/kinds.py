"""Kinds of operations that move peers: what each does at the steps of `domain.moves`."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from wgfleet.panel.domain.moves import MoveStep, MoveView
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.errors import NotFound
from wgfleet.panel.services import generations, operations
from wgfleet.panel.services.backups import Composed
from wgfleet.panel.services.moves import (
    address_move,
    cancelling,
    drain,
    failover,
    peer_moves,
    rebalance,
    removal,
    steps,
)
from wgfleet.panel.store import Tx
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Operation
from wgfleet.panel.vault import Vault


class PlacePeers(Protocol):
    """Gives peers new homes and writes their moves. `live_within_s`: the age up to which a session counts as live."""

    def __call__(self, tx: Tx, operation_id: str, *, live_within_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class MoveKind:
    """What sets one kind apart. `urgent`: its clients are without a node, so nobody is waited for."""

    view: Callable[[Tx, str], MoveView]
    place: PlacePeers
    close: Callable[[Tx, str], None]
    urgent: bool = False


KINDS: Mapping[OperationKind, MoveKind] = {
    OperationKind.REMOVE_NODE: MoveKind(removal.view, steps.place, removal.close),
    OperationKind.FAILOVER: MoveKind(failover.view, steps.place, failover.close, urgent=True),
    OperationKind.DRAIN: MoveKind(drain.view, drain.place, drain.close),
    OperationKind.REBALANCE: MoveKind(rebalance.view, rebalance.place, rebalance.close),
    OperationKind.MOVE_PEERS: MoveKind(peer_moves.view, peer_moves.place, peer_moves.close),
    OperationKind.MOVE_ADDRESS: MoveKind(address_move.view, address_move.place, address_move.close, urgent=True),
}


def view(tx: Tx, operation_id: str) -> MoveView:
    """Read where an operation stands."""
    return KINDS[operations.get(tx, operation_id).kind].view(tx, operation_id)


def compose(tx: Tx, vault: Vault, step: MoveStep, operation_id: str) -> Composed | None:
    """Read what a step writes where that takes long, for `perform`: nobody has to wait to write meanwhile."""
    if step is not MoveStep.BACKUP:
        return None
    with suppress(NotFound):  # then it is over
        return removal.compose_backup(tx, vault, operation_id)
    return None


def perform(
    tx: Tx,
    vault: Vault,
    step: MoveStep,
    operation_id: str,
    *,
    live_within_s: float,
    clean_within_s: float,
    composed: Composed | None = None,
) -> None:
    """Write what a step writes; doing it again is harmless. TAKEOVER, CLEAN and CONFIRM wait for nodes: not here.

    A step that was chosen by an earlier look does nothing where the operation is over by now.

    `live_within_s`: the age up to which a session counts as live; `clean_within_s`: how long a node has to delete its
    interface.
    """
    operation = operations.get(tx, operation_id)
    kind = KINDS[operation.kind]
    if step in _TO_BE_LOOKED_AT and _is_over(tx, operation):
        return
    if step is MoveStep.BACKUP:
        removal.back_up(tx, vault, operation_id, composed)
    elif step is MoveStep.PLACE:
        kind.place(tx, operation_id, live_within_s=live_within_s)
    elif step is MoveStep.RETIRE:
        removal.retire(tx, operation_id, live_within_s=live_within_s, clean_within_s=clean_within_s)
    elif step is MoveStep.CLOSE:
        kind.close(tx, operation_id)


_TO_BE_LOOKED_AT = {MoveStep.BACKUP, MoveStep.PLACE, MoveStep.RETIRE}


def _is_over(tx: Tx, operation: Operation) -> bool:
    """Look again, now that nobody else can change it: cancelled, or begun by somebody who may not go on, or in vain."""
    generations.hold(tx, operation.config_id or "")
    operation_rows.lock(tx, operation)
    cancelling.stop_if_due(tx, operation)
    view_now = KINDS[operation.kind].view(tx, operation.id)
    return view_now.finished or view_now.cancelled or view_now.over
