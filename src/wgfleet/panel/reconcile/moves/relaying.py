"""Relays begun for calls, and ended where nobody answered: then the client goes on with the node that it has."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace

import structlog

from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.protocol.addresses import join_endpoint
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.relay import RelayedPeer, RelayEnd, RelayRequest

log = structlog.get_logger()

Connections = Mapping[str, AgentConnection]


async def begin(connections: Connections, interface: str, batch: Collection[TakeoverCall]) -> list[TakeoverCall]:
    """Begin the relays that calls are to go through; return the calls at the endpoints that these have.

    Where a relay cannot be had the call is made without.
    """
    ports: dict[str, int] = {}
    for (node_id, config_id, for_s), calls in _by_relay(batch).items():
        peers = tuple(RelayedPeer(PublicKey(c.public_key), c.endpoint, c.via.target) for c in calls if c.via)
        connection = connections.get(node_id)
        if connection is None or not connection.connected or Feature.RELAY not in connection.features:
            continue
        try:
            status = await connection.client.relay(interface, RelayRequest(ConfigId(config_id), peers, for_s))
        except (TransientError, PermanentError, PanelError) as error:
            log.warning("relay.not_begun", node_id=node_id, peers=len(peers), error=str(error))
            continue
        ports |= {c.peer_id: status.peers[key].port for c in calls if (key := PublicKey(c.public_key)) in status.peers}
    return [
        replace(call, endpoint=join_endpoint(call.via.address, ports[call.peer_id]))
        if call.via is not None and call.peer_id in ports
        else replace(call, via=None)
        for call in batch
    ]


async def end(connections: Connections, interface: str, unanswered: Collection[TakeoverCall]) -> None:
    """End the relays of calls that nobody answered; one that cannot be ended is by the client's next handshake."""
    for (node_id, _, _), calls in _by_relay(unanswered).items():
        connection = connections.get(node_id)
        if connection is None:
            continue
        try:
            ended = RelayEnd(tuple(PublicKey(call.public_key) for call in calls))
            await connection.client.end_relay(interface, ended)
        except (TransientError, PermanentError, PanelError) as error:
            log.warning("relay.not_ended", node_id=node_id, peers=len(calls), error=str(error))


def _by_relay(batch: Collection[TakeoverCall]) -> dict[tuple[str, str, float], list[TakeoverCall]]:
    found: dict[tuple[str, str, float], list[TakeoverCall]] = defaultdict(list)
    for call in batch:
        if call.via is not None:
            found[call.via.node_id, call.via.config_id, call.via.for_s].append(call)
    return found
