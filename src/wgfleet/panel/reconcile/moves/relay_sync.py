"""Relays of nodes, kept equal to what was asked for, and read: agents learn what is to end or to last, then answer.

A relay needs nobody to last until its time: the agent that has it ends it by itself.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping

import structlog

from wgfleet.panel import clock, faultpoints
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.moves import relaying
from wgfleet.panel.services.moves import relay_reports
from wgfleet.panel.services.moves.relay_reports import RelayWish
from wgfleet.panel.store import Store
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.relay import AllRelays, RelayedPeer, RelayEnd, RelayProlongation, RelayRequest

AGAIN_S = 2.0  # while something that was asked for has not been done
OVER_S = 0.5  # after the time of a relay, when its node has ended it

log = structlog.get_logger()


class RelayReconciler:
    """Does that for one node at a time. `connections`: those to the agents, by node id."""

    def __init__(self, store: Store, connections: Mapping[str, AgentConnection]) -> None:
        self._store = store
        self._connections = connections
        self._asked: dict[str, object] = {}  # the status that the agent had when it was last asked

    def unasked(self) -> list[str]:
        """Return the nodes whose agents have not been asked since they last said what they are.

        They may relay whom a panel did not note that died then, or that had an older database.
        """
        return [
            node_id
            for node_id, connection in self._connections.items()
            if Feature.RELAY in connection.features and connection.status is not self._asked.get(node_id)
        ]

    async def reconcile(self, node_id: str) -> float | None:
        """Tell and ask a node; return after how many s to look again, or None for when something changes."""
        wishes = await in_thread(self._read, node_id)
        connection = self._connections.get(node_id)
        if connection is None or not connection.connected or Feature.RELAY not in connection.features:
            return AGAIN_S if wishes else None
        try:
            await self._tell(connection, wishes)
            faultpoints.reached("relays.told")
            said = await connection.client.relays()
            self._asked[node_id] = connection.status
            unneeded = await in_thread(self._record, node_id, said, wishes)
            turned = await self._turn(node_id, connection, said)
            for interface, keys in unneeded.items():
                await connection.client.end_relay(interface, RelayEnd(tuple(map(PublicKey, keys))))
            if unneeded:
                log.info("relay.unneeded", node_id=node_id, relays=sum(map(len, unneeded.values())))
            if unneeded or turned:
                said = await connection.client.relays()
                await in_thread(self._record, node_id, said, ())
        except (TransientError, PermanentError, PanelError) as error:
            log.warning("relay.not_reached", node_id=node_id, error=str(error))
            return AGAIN_S if wishes else None
        left = [each.left_s for told in said.interfaces.values() for each in told.peers.values()]
        return max(0.0, min(left)) + OVER_S if left else None

    async def _turn(self, node_id: str, connection: AgentConnection, said: AllRelays) -> bool:
        """Turn relays to where their clients are, and to the ports of now; tell whether there were any."""
        misled = await in_thread(self._misled, node_id, said)
        for interface, (config_id, peers) in misled.items():
            alike: dict[float, list[RelayedPeer]] = defaultdict(list)
            for left_s, peer in peers:
                alike[relaying.whole_s(left_s)].append(peer)
            for for_s, together in alike.items():
                request = RelayRequest(ConfigId(config_id), tuple(together), for_s)
                await connection.client.relay(InterfaceName(interface), request)
            log.info("relay.turned", node_id=node_id, interface=interface, relays=len(peers))
        return bool(misled)

    async def _tell(self, connection: AgentConnection, wishes: Collection[RelayWish]) -> None:
        alike: dict[tuple[str, float], list[PublicKey]] = defaultdict(list)
        for wish in wishes:
            alike[wish.interface, wish.until].append(PublicKey(wish.public_key))
        for (interface, until), keys in alike.items():
            left_s = until - clock.now()
            if until == 0 or left_s <= 0:
                await connection.client.end_relay(interface, RelayEnd(tuple(keys)))
            else:
                await connection.client.prolong_relay(interface, RelayProlongation(tuple(keys), left_s))

    def _read(self, node_id: str) -> list[RelayWish]:
        with self._store.read() as tx:
            return relay_reports.wishes(tx, node_id)

    def _misled(self, node_id: str, said: AllRelays) -> relay_reports.Misled:
        with self._store.read() as tx:
            return relay_reports.misled(tx, node_id, said)

    def _record(self, node_id: str, said: AllRelays, done: Collection[RelayWish]) -> relay_reports.Unneeded:
        with self._store.write() as tx:
            return relay_reports.record(tx, node_id, said, done)
