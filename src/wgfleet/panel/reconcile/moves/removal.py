"""The removal of a node from a config, one idempotent step at a time. `domain.removal` says which comes next.

All state is in rows: the operation, the assignment's phase, homes, moves, the cleanup owed. Killed anywhere, it goes
on from there.
"""

from collections.abc import Mapping

from wgfleet.panel import clock, faultpoints
from wgfleet.panel.domain.removal import RemovalStep, RemovalView, next_step
from wgfleet.panel.reconcile.agents.links import NodeLink
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.moves.session_reports import Reports
from wgfleet.panel.reconcile.moves.takeovers import Takeovers
from wgfleet.panel.services import operations
from wgfleet.panel.services.moves import removal, steps
from wgfleet.panel.settings.model import Drain
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault

POLL_S = 0.25  # for a node that is deleting an interface, or has not been heard of yet
NEED_SESSIONS = {RemovalStep.PLACE, RemovalStep.TAKEOVER, RemovalStep.RETIRE}


class RemovalReconciler:
    """Carries removals out. `links`: those to the agents, by node id."""

    def __init__(self, store: Store, vault: Vault, drain: Drain, links: Mapping[str, NodeLink]) -> None:
        self._store = store
        self._vault = vault
        self._drain = drain
        self._links = links
        self._takeovers = Takeovers(store, drain, links)
        self._reports = Reports(links, drain.unreachable_s)

    async def close(self) -> None:
        """End the calls that are under way."""
        await self._takeovers.close()

    async def reconcile(self, operation_id: str) -> float | None:
        """Do what can be done now; return after how many s to look again, or None when it has ended."""
        while True:
            view = await in_thread(self._view, operation_id)
            step = next_step(view, clock.now())
            if step is RemovalStep.DONE:
                return None
            if step in NEED_SESSIONS and not await self._reports.gather([await in_thread(self._node_id, operation_id)]):
                return POLL_S
            faultpoints.reached(f"removal.{step}.before")
            pause = await self._do(step, operation_id)
            faultpoints.reached(f"removal.{step}.after")
            if pause is not None:
                return pause

    def _node_id(self, operation_id: str) -> str:
        with self._store.read() as tx:
            return operations.get(tx, operation_id).node_id or ""

    def _view(self, operation_id: str) -> RemovalView:
        with self._store.read() as tx:
            return removal.view(tx, operation_id)

    async def _do(self, step: RemovalStep, operation_id: str) -> float | None:
        if step is RemovalStep.TAKEOVER:
            return await self._takeovers.round(operation_id)
        if step is RemovalStep.CLEAN:
            return POLL_S
        await in_thread(self._write, step, operation_id)
        return None

    def _write(self, step: RemovalStep, operation_id: str) -> None:
        with self._store.write() as tx:
            if step is RemovalStep.BACKUP:
                removal.back_up(tx, self._vault, operation_id)
            elif step is RemovalStep.PLACE:
                steps.place(tx, operation_id, live_within_s=self._drain.live_s)
            elif step is RemovalStep.RETIRE:
                removal.retire(
                    tx, operation_id, live_within_s=self._drain.live_s, clean_within_s=self._drain.unreachable_s
                )
            else:
                removal.close(tx, operation_id)
