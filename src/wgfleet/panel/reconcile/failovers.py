"""The replacement of a node that is down, from rows: place its peers, take their sessions over, close."""

from collections.abc import Mapping

from wgfleet.panel import faultpoints
from wgfleet.panel.reconcile.links import NodeLink
from wgfleet.panel.reconcile.seam import in_thread
from wgfleet.panel.reconcile.takeovers import Takeovers
from wgfleet.panel.services import failovers, moves, operations
from wgfleet.panel.settings.model import Drain
from wgfleet.panel.store import Store


class FailoverReconciler:
    """Carries failovers out. `links` are the lines to the agents, by node id."""

    def __init__(self, store: Store, drain: Drain, links: Mapping[str, NodeLink]) -> None:
        self._store = store
        self._drain = drain
        self._links = links
        self._takeovers = Takeovers(store, drain, links)

    async def reconcile(self, operation_id: str) -> float | None:
        """Do what can be done now; return after how many s to look again, or None when it has ended."""
        if not await in_thread(self._placed, operation_id):
            await self._flush(operation_id)
            await in_thread(self._place, operation_id)
            faultpoints.reached("failover.place.after")
        while await in_thread(self._waiting, operation_id):
            pause = await self._takeovers.round(operation_id)
            faultpoints.reached("failover.takeover.after")
            if pause is not None:
                return pause
        await in_thread(self._close, operation_id)
        return None

    async def _flush(self, operation_id: str) -> None:
        """Have the last that the node said of its sessions in the rows: it was heard, and may not be written yet."""
        link = self._links.get(await in_thread(self._node_id, operation_id))
        if link is not None:
            await link.flush()

    def _node_id(self, operation_id: str) -> str:
        with self._store.read() as tx:
            return operations.get(tx, operation_id).node_id or ""

    def _placed(self, operation_id: str) -> bool:
        with self._store.read() as tx:
            return moves.placed(tx, operation_id) or failovers.over(tx, operation_id)

    def _place(self, operation_id: str) -> None:
        with self._store.write() as tx:
            moves.place(tx, operation_id, live_within_s=self._drain.live_s)

    def _waiting(self, operation_id: str) -> bool:
        with self._store.read() as tx:
            return not failovers.over(tx, operation_id) and moves.waiting(tx, operation_id)

    def _close(self, operation_id: str) -> None:
        with self._store.write() as tx:
            failovers.close(tx, operation_id)
