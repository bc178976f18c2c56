"""Open TCP connections of clients who have moved: what the node before carries, told to the node that they came to.

Its NAT does not know them. Where a program sends, it learns that at once; one that only receives would wait for hours.
Of a node that does not answer they are those that it said it carries when it was heard last.
A help for users: where it fails the move goes on, and nothing is tried again. With a backbone the nodes see to it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping

import structlog

from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.moves.flow_copies import FlowCopies
from wgfleet.panel.services.moves import takeovers
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.store import Store
from wgfleet.protocol.features import Feature
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.open_flows import EndedFlows, FlowQuestion

PATIENCE_S = 2.0

log = structlog.get_logger()


class OpenFlows:
    """Tells nodes of them. `connections`: those to the agents, by node id.

    A node is asked once at a time, since it looks through all connections that it knows: those of clients who move
    meanwhile are asked for with the next question.
    """

    def __init__(self, store: Store, connections: Mapping[str, AgentConnection], copies: FlowCopies) -> None:
        self._store = store
        self._connections = connections
        self._copies = copies
        self._waiting: defaultdict[tuple[str, str], list[TakeoverCall]] = defaultdict(list)
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def close(self) -> None:
        """End what is under way; safe to call twice."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def moved(self, interface: str, calls: Collection[TakeoverCall]) -> None:
        """Take note of clients who have just answered the call of another node."""
        for call in calls:
            source = call.from_node_id, interface
            self._waiting[source].append(call)
            if source not in self._asking:
                self._asking[source] = asyncio.create_task(self._ask(*source))

    async def told(self, node_ids: Collection[str]) -> None:
        """Wait until nothing is asked of these nodes any more, but not for one that is slow to answer."""
        tasks = [task for (node_id, _), task in self._asking.items() if node_id in node_ids]
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE_S)

    async def _ask(self, node_id: str, interface: str) -> None:
        try:
            while calls := self._waiting.pop((node_id, interface), []):
                try:
                    await self._pass_on(node_id, interface, calls)
                except (TransientError, PermanentError, PanelError) as error:
                    log.info("open_flows.not_told", node_id=node_id, interface=interface, reason=str(error))
        finally:  # at once, so that nobody who moves in this moment waits for a task that has ended
            del self._asking[node_id, interface]

    async def _pass_on(self, node_id: str, interface: str, calls: Collection[TakeoverCall]) -> None:
        targets = defaultdict[str, list[TakeoverCall]](list)
        for call in calls:
            if self._knowing(call.node_id) is not None:
                targets[call.node_id].append(call)
        if not targets:
            return
        networks = await in_thread(self._networks, [call.peer_id for of in targets.values() for call in of])
        known = self._copies.of(node_id, interface, networks)
        await self._tell(interface, targets, known)  # at once: a machine that has died costs a time-out to ask
        if (source := self._knowing(node_id)) is not None:
            said = (await source.client.carried_flows(interface, FlowQuestion(networks))).flows
            news = {key: tuple(set(flows).difference(known.get(key, ()))) for key, flows in said.items()}
            await self._tell(interface, targets, {key: flows for key, flows in news.items() if flows})

    async def _tell(
        self,
        interface: str,
        targets: Mapping[str, Collection[TakeoverCall]],
        flows: Mapping[PublicKey, tuple[bytes, ...]],
    ) -> None:
        for target_id, of in targets.items():
            theirs = {PublicKey(call.public_key) for call in of} & flows.keys()
            target = self._knowing(target_id)
            if theirs and target is not None:
                await target.client.end_flows(interface, EndedFlows({key: flows[key] for key in theirs}))

    def _knowing(self, node_id: str) -> AgentConnection | None:
        connection = self._connections.get(node_id)
        able = connection is not None and connection.connected and Feature.OPEN_FLOWS in connection.features
        return connection if able else None

    def _networks(self, peer_ids: Collection[str]) -> dict[PublicKey, tuple[str, ...]]:
        with self._store.read() as tx:
            return takeovers.networks(tx, peer_ids)
