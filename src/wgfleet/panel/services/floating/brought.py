"""Floating addresses that a provider brings to their nodes, while a node in use has one that is to go to another.

The cloud leads packets to one machine, whatever machines have the address. So the node that is to lose it keeps it, and
serves who comes by it, until the provider says that it is with the next one; only then are clients called from there.
Where the provider does not bring it, the operation that asked for the move gives it back, and nobody was cut off.
"""

from collections.abc import Collection

from wgfleet.panel import clock
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.services import generations, operations
from wgfleet.panel.services.floating import carriers, holders
from wgfleet.panel.store import Tx
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import FloatingAddress
from wgfleet.protocol.reasons import Reason


def is_with(tx: Tx, config_id: str, address: str, node_id: str) -> None:
    """Note that a provider says an address is with a node; clients can be called from there, if it is its holder."""
    row = floating_rows.find(tx, address)
    if row is None or row.config_id != config_id or row.holder_node_id != node_id or row.still_at_node_id is None:
        return
    _settle(tx, config_id, [row])


def release(tx: Tx, config_id: str) -> None:
    """Wait no longer for what is still at nodes that are not in use any more: who came by it has lost it already."""
    waiting = _waiting(tx, config_id)
    if not waiting:
        return
    in_use = {each.node_id for each, _ in floating_rows.carriers(tx, config_id) if each.health.in_use}
    on_agent = carriers.of_config(tx, config_id).on_agent
    _settle(tx, config_id, [row for row in waiting if on_agent or row.still_at_node_id not in in_use])


def left(tx: Tx, config_id: str, node_id: str) -> None:
    """Wait no longer for what is still at a node that leaves the config."""
    _settle(tx, config_id, still_at(tx, config_id, node_id))


def give_back(tx: Tx, config_id: str, node_id: str, addresses: Collection[str] | None = None) -> None:
    """Leave with a node what the provider has not brought to another: all of it, or some addresses."""
    config_rows.lock(tx, config_id)
    found = still_at(tx, config_id, node_id)
    wanted = {row.address: node_id for row in found if addresses is None or row.address in addresses}
    if wanted:
        holders.give(tx, config_id, wanted)


def still_at(tx: Tx, config_id: str, node_id: str | None) -> list[FloatingAddress]:
    """Return the addresses that a provider has yet to bring from a node to another."""
    return [row for row in _waiting(tx, config_id) if node_id is not None and row.still_at_node_id == node_id]


def delay(tx: Tx, config_id: str, node_id: str | None) -> str | None:
    """Say why addresses are still at a node; None: none is."""
    rows = still_at(tx, config_id, node_id)
    if failing := next((row for row in rows if row.error), None):
        return _late(failing)
    return Reason("the provider has yet to bring {address}", address=rows[0].address) if rows else None


def trouble(tx: Tx, config_id: str, node_id: str) -> str | None:
    """Say of a node's addresses which a provider would not bring to another, as far as it failed lately; None: none."""
    if carriers.of_config(tx, config_id).on_agent:
        return None
    for row in floating_rows.of_config(tx, config_id):
        if node_id in {row.holder_node_id, row.still_at_node_id} and row.error:
            return _late(row)
    return None


def _late(row: FloatingAddress) -> str:
    return Reason("the provider does not bring {address}: {error}", address=row.address, error=row.error or "")


def _waiting(tx: Tx, config_id: str) -> list[FloatingAddress]:
    return [row for row in floating_rows.of_config(tx, config_id) if row.still_at_node_id is not None]


def _settle(tx: Tx, config_id: str, rows: Collection[FloatingAddress]) -> None:
    if not rows:
        return
    # The node that had it takes it off; the one that has it does not have to hear of that before it calls.
    generations.bump(tx, config_id, settings=True)
    for row in rows:
        row.still_at_node_id, row.since = None, clock.now()
    tx.flush()
    for operation in operation_rows.active_of(tx, config_id):
        operations.wake(tx, operation)


def explain(tx: Tx, config_id: str) -> None:
    """Have the operations that wait for the provider say why."""
    for operation in operation_rows.active_of(tx, config_id):
        mine = operation.kind is OperationKind.MOVE_ADDRESS
        for row in _waiting(tx, config_id):
            if row.error and (row.address == operation.subject if mine else row.still_at_node_id == operation.node_id):
                operations.explain_wait(tx, operation, _late(row))
