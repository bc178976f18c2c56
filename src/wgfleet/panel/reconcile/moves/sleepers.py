"""Calls to sleepers: peers of a node that leaves which were quiet, after those that are live; no operation waits."""

import asyncio
from collections.abc import Mapping

from wgfleet.panel.domain.moves import MoveView
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.moves.recalls import Recalls
from wgfleet.panel.services.moves import sleepers
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault

AFTER_S = (3.0, 30.0)  # of the first look, and of that; a packet may be lost, and a device may nod


class Sleepers:
    """Makes the calls of each operation, once while this process runs. `connections`: to the agents, by node id."""

    def __init__(
        self, store: Store, vault: Vault, connections: Mapping[str, AgentConnection], calls: Recalls, live_s: float
    ) -> None:
        self._store = store
        self._vault = vault
        self._connections = connections
        self._calls = calls
        self._live_s = live_s
        self._begun: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """End what is under way; safe to call twice."""
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)

    def begin(self, operation_id: str, view: MoveView) -> None:
        """Have the sleepers of an operation called once its peers have new homes, unless they are."""
        if view.placed and not view.over and operation_id not in self._begun:
            self._begun[operation_id] = asyncio.create_task(self._call(operation_id))

    def forget(self, operation_id: str) -> None:
        """Forget an operation that has ended, once its sleepers were called."""
        task = self._begun.get(operation_id)
        if task is not None and task.done():
            del self._begun[operation_id]
        elif task is not None:
            task.add_done_callback(lambda _: self._begun.pop(operation_id, None))

    async def _call(self, operation_id: str) -> None:
        for pause_s in AFTER_S:
            await asyncio.sleep(pause_s)
            interface, calls = await in_thread(self._due, operation_id)
            if calls and (answered := await self._calls.call(interface, calls)):
                await in_thread(self._record, operation_id, answered)

    def _due(self, operation_id: str) -> tuple[str, list[TakeoverCall]]:
        reachable = {node_id for node_id, connection in self._connections.items() if connection.connected}
        with self._store.read() as tx:
            return sleepers.due(tx, self._vault, operation_id, live_within_s=self._live_s, reachable=reachable)

    def _record(self, operation_id: str, answered: Mapping[str, Mapping[str, str]]) -> None:
        with self._store.write() as tx:
            sleepers.record(tx, operation_id, answered)
