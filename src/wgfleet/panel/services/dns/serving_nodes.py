"""Nodes eligible for a config's DNS name, read from rows, and why the addresses changed."""

from wgfleet.panel.domain import forwarding, public_ports
from wgfleet.panel.domain.dns.listing import DnsFloatingAddress, DnsNode
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit
from wgfleet.panel.services.floating import addresses, views
from wgfleet.panel.services.operations import subject
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Assignment, EndpointGroup, Node
from wgfleet.protocol.reasons import Reason, joined


def of_config(tx: Tx, config_id: str) -> list[DnsNode]:
    """Return the nodes that carry a config, except those that are joining."""
    group = endpoint_group_rows.get(tx, config_id)
    return [_dns_node(assignment, node, group) for assignment, node in _carriers(tx, config_id)]


def _carriers(tx: Tx, config_id: str) -> list[tuple[Assignment, Node]]:
    found = assignment_rows.of_config(tx, config_id)
    return [(assignment, node) for assignment, node in found if assignment.phase in {Phase.SERVING, Phase.DRAINING}]


def _dns_node(assignment: Assignment, node: Node, group: EndpointGroup | None) -> DnsNode:
    return DnsNode(
        name=node.name,
        addresses=tuple(_answering(assignment, node)),
        in_use=assignment.health.in_use,
        leaving=assignment.phase == Phase.DRAINING,
        cordoned=node.cordoned,
        forwards=not forwarding.fails(assignment.forwarding),
        trouble="" if group is None else public_ports.trouble(group.port, assignment.public_port),
    )


def _answering(assignment: Assignment, node: Node) -> list[str]:
    """Return a node's addresses without those where clients get no answer; all of them, should none be left."""
    silent = set(assignment.silent_addresses)
    return [address for address in node.endpoint_addresses if address not in silent] or node.endpoint_addresses


def floating_addresses(tx: Tx, config_id: str) -> list[DnsFloatingAddress]:
    """Return a config's floating addresses."""
    published = set(views.published(tx, config_id))
    return [DnsFloatingAddress(address, address in published) for address in addresses.listed(tx, config_id)]


def removed_by_operators(tx: Tx, config_id: str) -> frozenset[str]:
    """Return the addresses of nodes that operators took out of the name, as opposed to nodes that went down."""
    down = {
        address
        for assignment, node in assignment_rows.of_config(tx, config_id)
        if assignment.phase == Phase.SERVING and not node.cordoned
        for address in (assignment.silent_addresses if assignment.health.in_use else node.endpoint_addresses)
    }
    known = {address for addresses in dns_rows.endpoint_addresses(tx) for address in addresses}
    return frozenset(known - down)


def change_reason(tx: Tx, config_id: str, before: set[str], after: set[str]) -> tuple[str, str]:
    """Return why a name's desired addresses changed, and who asked for it."""
    reasons: list[str] = []
    requesters: list[str] = []
    explained: set[str] = set()
    for assignment, node in _carriers(tx, config_id):
        mine = set(node.endpoint_addresses)
        if mine & after - before:
            reasons.append(Reason("node {node} serves", node=node.name))
        elif mine & before - after:
            cause, asked_by = _cause(tx, assignment, node)
            reasons.append(Reason("node {node} {cause}", node=node.name, cause=cause))
            requesters.append(asked_by)
        explained |= mine
    gone = sorted(before - after - explained)
    if gone:
        reasons.append(Reason("{gone}: no node of this config has it now", gone=", ".join(gone)))
    return joined(reasons) if reasons else Reason("the endpoint group changed"), next(
        (name for name in requesters if name != audit.PANEL), audit.PANEL
    )


def _cause(tx: Tx, assignment: Assignment, node: Node) -> tuple[str, str]:
    about = subject(assignment.config_id, node.id)
    if assignment.phase == Phase.DRAINING:
        return Reason("is being removed"), _requested_by(tx, OperationKind.REMOVE_NODE, about)
    if not assignment.health.in_use:
        return Reason(
            "is {health}: {health_reason}", health=assignment.health, health_reason=assignment.health_reason
        ), audit.PANEL
    if forwarding.fails(assignment.forwarding):
        return Reason("does not forward what users send"), audit.PANEL
    if assignment.silent_addresses:
        return Reason("does not answer at {addresses}", addresses=", ".join(assignment.silent_addresses)), audit.PANEL
    if node.cordoned:
        return Reason("is cordoned"), _requested_by(tx, OperationKind.DRAIN, about)
    group = endpoint_group_rows.get(tx, assignment.config_id)
    trouble = "" if group is None else public_ports.trouble(group.port, assignment.public_port)
    return Reason("is left out: {trouble}", trouble=trouble) if trouble else Reason("has another address"), audit.PANEL


def _requested_by(tx: Tx, kind: OperationKind, about: str) -> str:
    operation = operation_rows.newest(tx, kind, about)
    return audit.PANEL if operation is None else operation.requested_by
