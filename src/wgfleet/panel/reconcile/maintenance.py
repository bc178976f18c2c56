"""Drains and rebalances, from rows: place the peers, take their sessions over, wait for the old nodes, close."""

from collections.abc import Mapping

from wgfleet.panel import clock, faultpoints
from wgfleet.panel.reconcile.links import NodeLink
from wgfleet.panel.reconcile.seam import in_thread
from wgfleet.panel.reconcile.takeovers import Takeovers
from wgfleet.panel.services import maintenance, moves, operations
from wgfleet.panel.settings.model import Drain
from wgfleet.panel.store import Store

POLL_S = 0.25  # for a node that has not been heard of yet, or that has not dropped the peers it lost


class MaintenanceReconciler:
    """Carries planned moves out. `links` are the lines to the agents, by node id."""

    def __init__(self, store: Store, drain: Drain, links: Mapping[str, NodeLink]) -> None:
        self._store = store
        self._drain = drain
        self._links = links
        self._takeovers = Takeovers(store, drain, links)
        self._waiting_since: dict[str, float] = {}

    async def reconcile(self, operation_id: str) -> float | None:
        """Do what can be done now; return after how many s to look again, or None when it has ended."""
        if await in_thread(self._finished, operation_id):
            return None
        if not await in_thread(self._placed, operation_id):
            if not await self._heard(operation_id):
                return POLL_S
            await in_thread(self._place, operation_id)
            faultpoints.reached("maintenance.place.after")
        while await in_thread(self._waiting, operation_id):
            pause = await self._takeovers.round(operation_id)
            faultpoints.reached("maintenance.takeover.after")
            if pause is not None:
                return pause
        if not await in_thread(self._dropped, operation_id):
            return POLL_S
        await in_thread(self._close, operation_id)
        return None

    async def _heard(self, operation_id: str) -> bool:
        """Have what the nodes last said of their sessions in the rows; False while one may still say it.

        Straight after a start they have not been heard of, and their clients would be taken for idle and be lost.
        """
        heard = True
        for node_id in await in_thread(self._sources, operation_id):
            link = self._links.get(node_id)
            if link is not None and link.connected:
                await link.flush()
            else:
                heard = False
        since = self._waiting_since.setdefault(operation_id, clock.monotonic())
        if heard or clock.monotonic() - since >= self._drain.unreachable_s:
            del self._waiting_since[operation_id]
            return True
        return False

    def _finished(self, operation_id: str) -> bool:
        with self._store.read() as tx:
            return operations.get(tx, operation_id).finished_at is not None

    def _sources(self, operation_id: str) -> list[str]:
        with self._store.read() as tx:
            return maintenance.sources(tx, operation_id)

    def _placed(self, operation_id: str) -> bool:
        with self._store.read() as tx:
            return moves.placed(tx, operation_id) or maintenance.over(tx, operation_id) is not None

    def _place(self, operation_id: str) -> None:
        with self._store.write() as tx:
            maintenance.place(tx, operation_id, live_within_s=self._drain.live_s)

    def _waiting(self, operation_id: str) -> bool:
        with self._store.read() as tx:
            return maintenance.over(tx, operation_id) is None and moves.waiting(tx, operation_id)

    def _dropped(self, operation_id: str) -> bool:
        with self._store.read() as tx:
            return moves.dropped(tx, operation_id)

    def _close(self, operation_id: str) -> None:
        with self._store.write() as tx:
            maintenance.close(tx, operation_id)
