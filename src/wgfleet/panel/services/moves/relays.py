"""Relays of a planned move: clients that nobody else can call are called through the node that they leave.

That node passes their packets on to the new one, and back, for as long as the administrator said. Who is relayed is
read off the sessions: the new node sees those clients at an address of the old one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wgfleet.panel.domain.operations import OperationKind, RelayOptions
from wgfleet.panel.services import operations
from wgfleet.panel.store import Tx
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Config, Node, Operation
from wgfleet.protocol.addresses import join_endpoint, split_endpoint
from wgfleet.protocol.features import Feature

if TYPE_CHECKING:
    from wgfleet.panel.services.moves.takeovers import TakeoverCall

# After this many calls in vain the next one goes through a relay. Those from the new node's own address come first; and
# each one through a relay that is not answered costs a client that lives what it sent meanwhile.
RELAYED_AFTER = frozenset({1, 2, 5, 20})


@dataclass(frozen=True, slots=True)
class RelayVia:
    """By which node, known to clients at `address`, packets are to go on to `target`, and for how many s."""

    node_id: str
    address: str
    target: str
    config_id: str
    for_s: float


def relay_s(operation: Operation) -> float:
    """Return for how long an operation's node is to relay those who cannot be called; 0: it does not."""
    if operation.kind not in {OperationKind.REMOVE_NODE, OperationKind.DRAIN}:
        return 0.0
    return operations.options_of(operation, RelayOptions).relay_s or 0.0


def through(tx: Tx, operation: Operation, config: Config, calls: Sequence["TakeoverCall"]) -> list["TakeoverCall"]:
    """Have calls that were made in vain go through the node that is leaving, where it can relay them.

    Not those from a floating address: these reach everybody.
    """
    for_s = relay_s(operation)
    leaving = node_rows.find(tx, operation.node_id or "") if for_s else None
    if leaving is None or Feature.RELAY not in leaving.agent_features:
        return list(calls)
    targets: dict[str, Node | None] = {}
    found = []
    for call in calls:
        if call.attempts not in RELAYED_AFTER or call.source is not None or call.node_id == leaving.id:
            found.append(call)
            continue
        if call.node_id not in targets:
            targets[call.node_id] = node_rows.find(tx, call.node_id)
        six = call.endpoint.startswith("[")
        here, there = _address(leaving, six=six), _address(targets[call.node_id], six=six)
        if here is None or there is None:
            found.append(call)
            continue
        via = RelayVia(leaving.id, here, join_endpoint(there, config.listen_port), config.id, for_s)
        found.append(replace(call, via=via))
    return found


def _address(node: Node | None, *, six: bool) -> str | None:
    """Return the first endpoint address of a node that is of an IP version."""
    return None if node is None else next((each for each in node.endpoint_addresses if (":" in each) is six), None)


def relayed(tx: Tx, operation: Operation, taken_over: Collection[str]) -> set[str]:
    """Return which of the peers that were taken over in an operation hang on a relay of its node."""
    node = node_rows.find(tx, operation.node_id or "") if relay_s(operation) else None
    if node is None:
        return set()
    own = set(node.endpoint_addresses)
    return {
        peer_id
        for peer_id, session in session_rows.latest(tx, sorted(taken_over)).items()
        if session.endpoint and session.node_id != node.id and split_endpoint(session.endpoint)[0] in own
    }
