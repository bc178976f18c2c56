"""Relays of a planned move: clients that nobody else can call are called through the node that they leave.

That node passes their packets on to the new one, and back, for as long as the administrator said. Who is relayed is
read off the sessions: the new node sees those clients at an address of the old one. When such a session moves again,
be it that the new node dies, the relay is turned to the next node, or ends where the client returns.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wgfleet.panel.domain import public_ports
from wgfleet.panel.domain.operations import OperationKind, RelayOptions
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import operations
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Config, Node, Operation
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.addresses import address_of, join_endpoint
from wgfleet.protocol.features import Feature
from wgfleet.protocol.reasons import Reason

if TYPE_CHECKING:
    from wgfleet.panel.services.moves.takeovers import TakeoverCall

# After this many calls in vain the next one goes through a relay. Those from the new node's own address come first; and
# each one through a relay that is not answered costs a client that lives what it sent meanwhile.
RELAYED_AFTER = frozenset({1, 2, 5, 20})


@dataclass(frozen=True, slots=True)
class RelayVia:
    """By which node, known to clients at `address`, packets are to go on to `target`, and for how many s.

    `for_s` None: the client hangs on a relay of that node, which is turned to the target for the time that it has left.
    `target` None: that relay ends, for the client is to have the node itself again.
    """

    node_id: str
    address: str
    target: str | None
    config_id: str
    for_s: float | None


def relay_s(operation: Operation) -> float:
    """Return for how long an operation's node is to relay those who cannot be called; 0: it does not."""
    if operation.kind not in {OperationKind.REMOVE_NODE, OperationKind.DRAIN, OperationKind.DRAIN_GROUP}:
        return 0.0
    return operations.options_of(operation, RelayOptions).relay_s or 0.0


def wake(tx: Tx, operation: Operation) -> None:
    """Have the relays of an operation's node looked at once it has ended: some may be of no use any more."""
    if relay_s(operation) and operation.node_id is not None:
        tx.wake(Topic.RELAY, operation.node_id)


def check_same(operation: Operation, asked_s: float) -> None:
    """Refuse to ask for other relays than an operation was begun with: some of its clients may hang on them."""
    begun_s = relay_s(operation)
    if asked_s and asked_s != begun_s:
        how = Reason("relays of {begun_s:.0f} s", begun_s=begun_s) if begun_s else Reason("no relays")
        raise Conflict(
            Reason(
                "operation {operation} is under way with {how}, and does not take up others: wait until it has ended, "
                "and prolong the relays then, or repeat it",
                operation=operation.id,
                how=how,
            ),
            Hint(HintCode.LIST_OPERATIONS),
            field="relay_s",
        )


def through(tx: Tx, operation: Operation, config: Config, calls: Sequence["TakeoverCall"]) -> list["TakeoverCall"]:
    """Have calls go through relays: of the node that a client hangs on already, else of the one that is leaving.

    The latter are those made in vain before. None of those from a floating address: these reach everybody.
    """
    for_s = relay_s(operation)
    leaving = node_rows.find(tx, operation.node_id or "") if for_s else None
    if leaving is not None and Feature.RELAY not in leaving.agent_features:
        leaving = None
    relaying_at = relaying(tx, {address_of(call.endpoint) for call in calls if call.source is None})
    targets: dict[str, Node | None] = {}
    found = []
    for call in calls:
        six = call.endpoint.startswith("[")
        relay = relaying_at.get(address_of(call.endpoint))
        if relay is not None:
            for_this = None
        elif call.attempts in RELAYED_AFTER and leaving is not None and call.node_id != leaving.id:
            relay, for_this = leaving, for_s
        here = address_of_node(relay, six=six)
        if call.source is not None or relay is None or here is None:
            found.append(call)
            continue
        if call.node_id not in targets:
            targets[call.node_id] = node_rows.find(tx, call.node_id)
        there = address_of_node(targets[call.node_id], six=six)
        returns = relay.id == call.node_id
        if there is None and not returns:
            found.append(call)
            continue
        target = None if returns or there is None else endpoint(tx, config, call.node_id, there)
        at = address_of(call.endpoint) if for_this is None else here
        found.append(replace(call, via=RelayVia(relay.id, at, target, config.id, for_this)))
    return found


def relaying(tx: Tx, hosts: Collection[str]) -> dict[str, Node]:
    """Return the nodes that relay clients who are seen at some addresses, by address; only those that can be told."""
    at = node_rows.ids_by_address(tx)
    found: dict[str, Node] = {}
    for host in at.keys() & set(hosts):
        node = node_rows.find(tx, at[host])
        if node is not None and node.connected and Feature.RELAY in node.agent_features:
            found[host] = node
    return found


def address_of_node(node: Node | None, *, six: bool) -> str | None:
    """Return the first endpoint address of a node that is of an IP version."""
    return None if node is None else next((each for each in node.endpoint_addresses if (":" in each) is six), None)


def endpoint(tx: Tx, config: Config, node_id: str, address: str) -> str:
    """Return where a relay sends packets for a node, which another port than its own may lead to."""
    assignment = assignment_rows.get(tx, config.id, node_id)
    own = None if assignment is None else assignment.public_port
    return join_endpoint(address, public_ports.from_outside(config.listen_port, own))


def relayed(tx: Tx, operation: Operation, taken_over: Collection[str]) -> set[str]:
    """Return which of the peers that were taken over in an operation hang on a relay of its node."""
    node = node_rows.find(tx, operation.node_id or "") if relay_s(operation) else None
    if node is None:
        return set()
    own = set(node.endpoint_addresses)
    return {
        peer_id
        for peer_id, session in session_rows.latest(tx, sorted(taken_over)).items()
        if session.endpoint and session.node_id != node.id and address_of(session.endpoint) in own
    }
