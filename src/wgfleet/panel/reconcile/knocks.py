"""Knocks at machines whose WireGuard falls silent: whether the kernel takes a connection to the agent's port.

A machine that is dead, or cut off, does not. One whose programs stand still for a moment does, and its WireGuard may be
back before anybody could take over: it is given a little more time, once.
"""

import asyncio
from collections.abc import Mapping

from wgfleet.panel import clock
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.loop_thread import LoopCall, here

STALL_S = 1.0  # after the last answer; one that stands still for longer is of no use to its clients
WITHIN_S = 0.3
AGAIN_S = 0.25  # between two knocks at a machine


class Knocks:
    """Knocks, and their answers. `connections`: those to the agents; `call`: as of `Probes`."""

    def __init__(self, connections: Mapping[str, AgentConnection]) -> None:
        self.call: LoopCall = here
        self._connections = connections
        self._sent_at: dict[str, float] = {}
        self._taken: dict[str, float] = {}  # when the latest knock was sent that was taken
        self._tasks: set[asyncio.Task[None]] = set()

    def knock(self, node_id: str) -> None:
        """Knock at a node's machine, unless that was done a moment ago."""
        now, connection = clock.monotonic(), self._connections.get(node_id)
        if connection is None or now - self._sent_at.get(node_id, -AGAIN_S) < AGAIN_S:
            return
        self._sent_at[node_id] = now
        task = asyncio.create_task(self._knock(node_id, connection, now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stands_still(self, node_id: str, last_ok_at: float | None, now: float) -> bool:
        """Tell whether a node that last answered at `last_ok_at` may only stand still for a moment."""
        if last_ok_at is None or now - last_ok_at >= STALL_S:
            return False
        return self._taken.get(node_id, last_ok_at) > last_ok_at

    async def over(self) -> None:
        """Wait for those that are under way."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """End those that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _knock(self, node_id: str, connection: AgentConnection, sent_at: float) -> None:
        if await self.call(connection.client.is_listening(WITHIN_S)):
            self._taken[node_id] = sent_at
