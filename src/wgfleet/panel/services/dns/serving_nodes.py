"""The nodes of a config as its published name sees them, read from rows: who can be reached, and who was taken away."""

from wgfleet.panel.domain.dns.listing import Floating, Server
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit
from wgfleet.panel.services.floating import holders as floating_addresses
from wgfleet.panel.services.operations import subject
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Assignment, Node


def of_config(tx: Tx, config_id: str) -> list[Server]:
    """Return the nodes that carry a config, without those that are only joining."""
    return [_server(assignment, node) for assignment, node in _carriers(tx, config_id)]


def _carriers(tx: Tx, config_id: str) -> list[tuple[Assignment, Node]]:
    found = assignment_rows.of_config(tx, config_id)
    return [(assignment, node) for assignment, node in found if assignment.phase in {Phase.SERVING, Phase.DRAINING}]


def _server(assignment: Assignment, node: Node) -> Server:
    return Server(
        name=node.name,
        addresses=tuple(node.endpoint_addresses),
        in_use=assignment.health.in_use,
        leaving=assignment.phase == Phase.DRAINING,
        cordoned=node.cordoned,
    )


def floating(tx: Tx, config_id: str) -> list[Floating]:
    """Return a config's floating addresses."""
    published = set(floating_addresses.published(tx, config_id))
    return [Floating(address, address in published) for address in floating_addresses.listed(tx, config_id)]


def removed_by_people(tx: Tx, config_id: str) -> frozenset[str]:
    """Return the addresses of nodes that are not to be listed because somebody said so, not because they died."""
    down = {
        address
        for assignment, node in assignment_rows.of_config(tx, config_id)
        if not assignment.health.in_use and assignment.phase == Phase.SERVING and not node.cordoned
        for address in node.endpoint_addresses
    }
    known = {address for addresses in dns_rows.endpoint_addresses(tx) for address in addresses}
    return frozenset(known - down)


def reason(tx: Tx, config_id: str, before: set[str], after: set[str]) -> tuple[str, str]:
    """Say why a name is to list other addresses than before, and who asked for it."""
    said: list[str] = []
    who: list[str] = []
    explained: set[str] = set()
    for assignment, node in _carriers(tx, config_id):
        mine = set(node.endpoint_addresses)
        if mine & after - before:
            said.append(f"node {node.name} serves")
        elif mine & before - after:
            cause, asked_by = _cause(tx, assignment, node)
            said.append(f"node {node.name} {cause}")
            who.append(asked_by)
        explained |= mine
    gone = sorted(before - after - explained)
    if gone:
        said.append(f"{', '.join(gone)}: no node of this config has it any more")
    return "; ".join(said) or "the endpoint group says so", next(
        (name for name in who if name != audit.PANEL), audit.PANEL
    )


def _cause(tx: Tx, assignment: Assignment, node: Node) -> tuple[str, str]:
    about = subject(assignment.config_id, node.id)
    if assignment.phase == Phase.DRAINING:
        return "is being removed", _requested_by(tx, OperationKind.REMOVE_NODE, about)
    if not assignment.health.in_use:
        return f"is {assignment.health}: {assignment.health_reason}", audit.PANEL
    if node.cordoned:
        return "is cordoned", _requested_by(tx, OperationKind.DRAIN, about)
    return "has another address", audit.PANEL


def _requested_by(tx: Tx, kind: OperationKind, about: str) -> str:
    operation = operation_rows.newest(tx, kind, about)
    return audit.PANEL if operation is None else operation.requested_by
