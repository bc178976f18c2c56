"""Calls to the clients that a node may have taken back, as soon as it has dropped them: when it returned, or later.

Then it may have back those that it owed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

import structlog

from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.moves import recalls
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.settings.drain import DrainSettings
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverPeer

AGAIN_S = 10.0  # until nodes are asked again that could not be
WAITS_S = (0.3, 1.0, 2.0)  # for the answers to each try, or for an agent that could not be asked

log = structlog.get_logger()


class Recalls:
    """Makes the calls. `connections`: those to the agents, by node id."""

    def __init__(
        self, store: Store, vault: Vault, drain: DrainSettings, connections: Mapping[str, AgentConnection]
    ) -> None:
        self._store = store
        self._vault = vault
        self._drain = drain
        self._connections = connections

    async def reconcile(self, assignment_id: str) -> float | None:
        """Call all that were taken over from an assignment's node, from where they live now."""
        interface, calls, generation = await in_thread(self._due, assignment_id)
        found = await self._made(interface, calls)
        unasked = any(answered is None for answered in found.values())
        if unasked and await in_thread(self._is_unasked, assignment_id):
            return AGAIN_S
        await in_thread(self._record, assignment_id, _asked(found), generation, sources_of(calls))
        return None

    async def call(self, interface: str, calls: Sequence[TakeoverCall]) -> dict[str, dict[str, str]]:
        """Make calls; return for each node that made some the endpoints of the clients that answered, by id."""
        return _asked(await self._made(interface, calls))

    async def _made(self, interface: str, calls: Sequence[TakeoverCall]) -> dict[str, dict[str, str] | None]:
        waiting: dict[str, list[TakeoverCall]] = defaultdict(list)
        for call in calls:
            waiting[call.node_id].append(call)
        found = await asyncio.gather(*(self._call_all(node_id, interface, each) for node_id, each in waiting.items()))
        return dict(zip(waiting, found, strict=True))

    async def _call_all(self, node_id: str, interface: str, calls: list[TakeoverCall]) -> dict[str, str] | None:
        """Have a node call peers, those again that do not answer; return the endpoints of those that did, by id.

        None: it could never be asked.
        """
        answered: dict[str, str] = {}
        asked = False
        for wait_s in WAITS_S:
            left = [call for call in calls if call.peer_id not in answered]
            size = self._drain.takeover_batch
            for start in range(0, len(left), size):
                found = await self._call(node_id, interface, left[start : start + size], wait_s)
                asked = asked or found is not None
                if found is None:  # an agent that starts again is there in a second or two
                    await asyncio.sleep(wait_s)
                answered |= found or {}
        return answered if asked else None

    async def _call(
        self, node_id: str, interface: str, batch: list[TakeoverCall], wait_s: float
    ) -> dict[str, str] | None:
        """Have a node call peers; return the endpoints of those that answered, by id. None: it could not be asked."""
        connection = self._connections.get(node_id)
        if connection is None:
            return None
        peers = tuple(TakeoverPeer(PublicKey(call.public_key), call.endpoint, call.source) for call in batch)
        try:
            result = await connection.client.takeover(InterfaceName(interface), Takeover(peers=peers, timeout_s=wait_s))
        except (TransientError, PermanentError) as error:
            log.warning("recall.failed", node_id=node_id, peers=len(batch), error=str(error))
            return None
        return {call.peer_id: call.endpoint for call in batch if call.public_key in result.answered}

    def _due(self, assignment_id: str) -> tuple[str, list[TakeoverCall], int]:
        with self._store.read() as tx:
            generation = recalls.applied(tx, assignment_id)
            return *recalls.due(tx, self._vault, assignment_id, self._drain.live_s), generation

    def _is_unasked(self, assignment_id: str) -> bool:
        with self._store.read() as tx:
            return recalls.is_unasked(tx, assignment_id)

    def _record(
        self,
        assignment_id: str,
        answered: Mapping[str, Mapping[str, str]],
        generation: int,
        sources: Mapping[str, str],
    ) -> None:
        with self._store.write() as tx:
            recalls.record_answers(tx, assignment_id, answered, generation, sources)


def _asked(found: Mapping[str, dict[str, str] | None]) -> dict[str, dict[str, str]]:
    return {node_id: answered for node_id, answered in found.items() if answered is not None}


def sources_of(calls: Sequence[TakeoverCall]) -> dict[str, str]:
    """Return the floating addresses that clients (by id) are called from."""
    return {call.peer_id: call.source for call in calls if call.source is not None}
