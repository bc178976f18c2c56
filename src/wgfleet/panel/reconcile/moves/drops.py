"""Drops: which sessions nodes dropped in time after others took them over, and calls to the clients of the rest.

Whatever a node still sends to a client that another node has called turns the client's endpoint back to it, and what
the client then sends is lost. The node that called it turns it once more for a while after the call; a node that drops
it later than that, because it is slow or because the panel died between the two, may have had the last word. Where the
client was left is not known to anybody, so it is called again. None of this is kept in rows: after a restart all are.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping

from wgfleet.panel import clock
from wgfleet.panel.domain.moves import MoveView, may_be_turned
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.moves.recalls import Recalls, sources_of
from wgfleet.panel.services.moves import recalls
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault

IN_TIME_S = 1.0  # an agent reminds those that it called of itself for 1.27 s after the end of a call
_LOOK_S = 0.02


class Drops:
    """Watches the drops of all operations. `connections`: those to the agents, by node id."""

    def __init__(
        self, store: Store, vault: Vault, connections: Mapping[str, AgentConnection], calls: Recalls, live_s: float
    ) -> None:
        self._store = store
        self._vault = vault
        self._connections = connections
        self._calls = calls
        self._live_s = live_s
        self._in_time: defaultdict[str, set[str]] = defaultdict(set)
        self._checked: set[str] = set()
        self._watching: dict[asyncio.Task[None], str] = {}

    async def close(self) -> None:
        """End what is under way; safe to call twice."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    def watch(self, operation_id: str, interface: str, answered: Collection[TakeoverCall], generation: int) -> None:
        """See whether the nodes of clients that have just answered a call drop them in time."""
        if answered:
            task = asyncio.create_task(self._watch(operation_id, interface, answered, generation))
            self._watching[task] = operation_id
            task.add_done_callback(self._watching.pop)

    async def _watch(
        self, operation_id: str, interface: str, answered: Collection[TakeoverCall], generation: int
    ) -> None:
        until = clock.monotonic() + IN_TIME_S
        givers = {call.from_node_id for call in answered if call.via is None}
        while not all(self._has_dropped(node_id, interface, generation) for node_id in givers):
            if clock.monotonic() > until:
                # Relayed ones know the node that relays, and no other address.
                answered = [call for call in answered if call.via is not None]
                break
            await asyncio.sleep(_LOOK_S)
        self._in_time[operation_id] |= {call.peer_id for call in answered}

    def _has_dropped(self, node_id: str, interface: str, generation: int) -> bool:
        connection = self._connections.get(node_id)
        if connection is None or not connection.connected:
            return False
        reported = connection.reported.get(interface)  # None: it has deleted the interface
        return reported is None or reported.generation >= generation

    def unchecked(self, operation_id: str, view: MoveView) -> bool:
        """Tell whether `recall` has something to look at."""
        return may_be_turned(view) and operation_id not in self._checked

    async def recall(self, operation_id: str) -> None:
        """Call the clients that their nodes may have turned back, once, after these have dropped them."""
        await asyncio.gather(*(task for task, about in self._watching.items() if about == operation_id))
        interface, calls = await in_thread(self._late, operation_id)
        if calls:
            answered = await self._calls.call(interface, calls)
            await in_thread(self._record, operation_id, answered, sources_of(calls))
        self._checked.add(operation_id)

    def forget(self, operation_id: str) -> None:
        """Forget an operation that has ended."""
        self._in_time.pop(operation_id, None)
        self._checked.discard(operation_id)

    def _late(self, operation_id: str) -> tuple[str, list[TakeoverCall]]:
        in_time = self._in_time.get(operation_id, set())
        with self._store.read() as tx:
            return recalls.late(tx, self._vault, operation_id, in_time, self._live_s)

    def _record(self, operation_id: str, answered: Mapping[str, Mapping[str, str]], sources: Mapping[str, str]) -> None:
        with self._store.write() as tx:
            recalls.record_late(tx, operation_id, answered, sources)
