"""Relays begun, turned and ended for calls, and put back where nobody answered: then the client goes on as before."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.protocol.addresses import join_endpoint
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.relay import MAX_RELAY_S, Relayed, RelayedPeer, RelayEnd, RelayRequest

SHORTEST_S = 1.0  # of a relay that is about to end
log = structlog.get_logger()

Connections = Mapping[str, AgentConnection]


@dataclass(frozen=True, slots=True)
class RelayedCalls:
    """Calls at the endpoints that relays have. `before`: where the relays led that there were, by public key."""

    calls: list[TakeoverCall]
    before: dict[str, Relayed] = field(default_factory=dict)


async def begin(connections: Connections, interface: str, batch: Collection[TakeoverCall]) -> RelayedCalls:
    """Begin the relays that calls are to go through, or turn those that there are, or end them for who returns.

    Where a relay cannot be had the call is made without.
    """
    made: dict[str, TakeoverCall] = {}
    before: dict[str, Relayed] = {}
    for (node_id, config_id, for_s), calls in _by_relay(batch).items():
        connection = connections.get(node_id)
        if connection is None or not connection.connected or Feature.RELAY not in connection.features:
            continue
        try:
            if for_s is not None:
                peers = [_peer(call, call.endpoint, call.via.target) for call in calls if call.via and call.via.target]
                there = await _relay(connection, interface, config_id, {for_s: peers})
                ports = {call.peer_id: there[key].port for call in calls if (key := call.public_key) in there}
                made |= {call.peer_id: _at_relay(call, ports[call.peer_id]) for call in calls if call.peer_id in ports}
                continue
            status = await connection.client.relay_status(interface)
            known = {str(key): relayed for key, relayed in status.peers.items()}
            hanging = [call for call in calls if call.public_key in known]
            before |= {call.public_key: known[call.public_key] for call in hanging}
            made |= await _turned(connection, interface, config_id, hanging, known)
        except (TransientError, PermanentError, PanelError) as error:
            log.warning("relay.not_begun", node_id=node_id, peers=len(calls), error=str(error))
    return RelayedCalls([made.get(call.peer_id, replace(call, via=None)) for call in batch], before)


async def _turned(
    connection: AgentConnection,
    interface: str,
    config_id: str,
    hanging: Collection[TakeoverCall],
    known: Mapping[str, Relayed],
) -> dict[str, TakeoverCall]:
    """Turn the relays that clients hang on to the nodes that are to call them; end them for those who return."""
    turned: dict[float, list[RelayedPeer]] = defaultdict(list)
    made: dict[str, TakeoverCall] = {}
    returning = []
    for call in hanging:
        relayed = known[call.public_key]
        if call.via is not None and call.via.target is not None:
            turned[whole_s(relayed.left_s)].append(_peer(call, relayed.endpoint, call.via.target))
            made[call.peer_id] = _at_relay(call, relayed.port)
        else:
            returning.append(PublicKey(call.public_key))
            made[call.peer_id] = replace(call, endpoint=relayed.endpoint)
    await _relay(connection, interface, config_id, turned)
    if returning:
        await connection.client.end_relay(interface, RelayEnd(tuple(returning)))
    return made


async def end(connections: Connections, interface: str, made: RelayedCalls, answered: Collection[str]) -> None:
    """Put back the relays of calls that nobody answered: those begun for them end, others lead where they led.

    One that cannot be put back is by the client's next handshake.
    """
    unanswered = [call for call in made.calls if call.public_key not in answered]
    for (node_id, config_id, for_s), calls in _by_relay(unanswered).items():
        connection = connections.get(node_id)
        if connection is None:
            continue
        try:
            if for_s is not None:
                ended = RelayEnd(tuple(PublicKey(call.public_key) for call in calls))
                await connection.client.end_relay(interface, ended)
                continue
            back: dict[float, list[RelayedPeer]] = defaultdict(list)
            for call in calls:
                old = made.before[call.public_key]
                back[whole_s(old.left_s)].append(_peer(call, old.endpoint, old.target))
            await _relay(connection, interface, config_id, back)
        except (TransientError, PermanentError, PanelError) as error:
            log.warning("relay.not_ended", node_id=node_id, peers=len(calls), error=str(error))


async def _relay(
    connection: AgentConnection, interface: str, config_id: str, wanted: Mapping[float, Iterable[RelayedPeer]]
) -> dict[str, Relayed]:
    found: dict[str, Relayed] = {}
    for for_s, peers in wanted.items():
        status = await connection.client.relay(interface, RelayRequest(ConfigId(config_id), tuple(peers), for_s))
        found |= {str(key): relayed for key, relayed in status.peers.items()}
    return found


def _peer(call: TakeoverCall, endpoint: str, target: str) -> RelayedPeer:
    return RelayedPeer(PublicKey(call.public_key), endpoint, target)


def _at_relay(call: TakeoverCall, port: int) -> TakeoverCall:
    return call if call.via is None else replace(call, endpoint=join_endpoint(call.via.address, port))


def whole_s(left_s: float) -> float:
    """Return how long a relay has to go, in whole s, so that those that were begun together stay together.

    `left_s`: by the node's own count, since its clock may be wrong.
    """
    return min(MAX_RELAY_S, max(SHORTEST_S, round(left_s)))


def _by_relay(batch: Collection[TakeoverCall]) -> dict[tuple[str, str, float | None], list[TakeoverCall]]:
    found: dict[tuple[str, str, float | None], list[TakeoverCall]] = defaultdict(list)
    for call in batch:
        if call.via is not None:
            found[call.via.node_id, call.via.config_id, call.via.for_s].append(call)
    return found
