"""Session reports of nodes, brought into the rows before anything is decided from them."""

from collections.abc import Collection, Mapping

from wgfleet.panel import clock
from wgfleet.panel.reconcile.agents.connection import AgentConnection


class Reports:
    """Waits for nodes that may still say something. `connections`: those to the agents, by node id."""

    def __init__(self, connections: Mapping[str, AgentConnection], patience_s: float) -> None:
        self._connections = connections
        self._patience_s = patience_s
        self._started_at = clock.monotonic()

    async def gather(self, node_ids: Collection[str]) -> bool:
        """Write what the nodes said to the rows; False while one of them may still say something.

        Right after the panel starts no node has reported yet; treating its clients as idle would drop live sessions.
        """
        gathered = True
        for node_id in node_ids:
            connection = self._connections.get(node_id)
            if connection is not None:
                await connection.flush()
            gathered &= (connection is not None and connection.connected) or not self.may_come(node_id)
        return gathered

    def known(self, node_ids: Collection[str]) -> bool:
        """Tell whether all of them have reported since the panel started, though they may be silent now."""
        found = [self._connections.get(node_id) for node_id in node_ids]
        return all(connection is not None and connection.last_seen_at is not None for connection in found)

    def silent(self, node_ids: Collection[str]) -> bool:
        """Tell whether one of them has missed a heartbeat: it may be dead, and its clients without a node."""
        found = [self._connections.get(node_id) for node_id in node_ids]
        return any(connection is not None and connection.silent for connection in found)

    def may_come(self, node_id: str) -> bool:
        """Tell whether a node may still say something: its agent is connected, or has not been silent for long."""
        connection = self._connections.get(node_id)
        since = self._started_at if connection is None else connection.heard_at
        connected = connection is not None and connection.connected
        return connected or clock.monotonic() - since < self._patience_s
