"""The reconciler of a node: finds the connection to its agent, runs one cycle over it, and has the outcome written."""

from wgfleet.panel.errors import told
from wgfleet.panel.reconcile.agents.connections import Connections
from wgfleet.panel.reconcile.agents.node_cycle import NodeCycle
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.reconcile.agents.summaries import SummaryWriter
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.protocol.reasons import Reason

SUPERSEDED = NodeCycle(
    Reason("not managed: this panel decides nothing, as nodes obey another one, on a newer copy of its database")
)


class NodeReconciler:
    """Makes nodes equal to their rows."""

    def __init__(self, connections: Connections, pusher: Pusher, summaries: SummaryWriter, outlook: Outlook) -> None:
        self._outlook = outlook
        self._connections = connections
        self._pusher = pusher
        self._summaries = summaries

    async def reconcile(self, node_id: str) -> float | None:
        """Do one cycle; return after how many s another has something to try again. Whatever else wakes the key."""
        connection = await self._connections.connection_to(node_id)
        if connection is None or not connection.tried:
            return None  # one that has just begun wakes the key when it is known whether the agent answers
        if self._outlook.superseded is not None and connection.connected:
            await self._summaries.write(connection, SUPERSEDED)
            return None
        cycle = NodeCycle(Reason("its last cycle failed"))
        try:
            cycle = await self._pusher.cycle(connection)
        except Exception as error:
            cycle = NodeCycle(told(error))
            raise
        finally:
            await self._summaries.write(connection, cycle)
        return cycle.again_in_s
