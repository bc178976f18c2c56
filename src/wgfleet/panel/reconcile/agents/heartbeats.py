"""Times at which agents were last heard, written to the rows of all nodes in one transaction.

A cycle writes a node's row only when its sentence changes, which may be weeks apart; this keeps `last_seen_at` true
meanwhile.
"""

from collections.abc import Mapping

from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.fleet import node_agents
from wgfleet.panel.store import Store

WRITE_EVERY_S = 10.0  # people read it as "is it still there"; a row of each node is written this often


class HeartbeatWriter:
    """Writes when each agent was last heard, if that was since the last time. `connections`: those to the agents."""

    def __init__(self, store: Store, connections: Mapping[str, AgentConnection]) -> None:
        self._store = store
        self._connections = connections
        self._written: dict[str, tuple[float, float | None]] = {}

    async def run(self) -> None:
        """Write now and then until cancelled; what a database that is away misses is written when it is back."""
        await keep_looking(self.flush, WRITE_EVERY_S, "heartbeats.not_written")

    async def flush(self) -> None:
        """Write what is new."""
        heard = {
            node_id: (connection.last_seen_at, connection.clock_ahead_s)
            for node_id, connection in self._connections.items()
            if connection.last_seen_at is not None
        }
        fresh = {node_id: at for node_id, at in heard.items() if self._written.get(node_id) != at}
        if fresh:
            await in_thread(self._write, fresh)
        self._written = heard

    def _write(self, heard: Mapping[str, tuple[float, float | None]]) -> None:
        with self._store.write() as tx:
            node_agents.heard(tx, heard)
