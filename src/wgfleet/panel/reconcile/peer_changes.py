"""Changes of many peers, from rows: slice after slice, with pauses in which others have their turn."""

from wgfleet.panel import faultpoints
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import peer_changes
from wgfleet.panel.store import Store

PAUSE_S = 0.02


class PeerChangeReconciler:
    """Carries such operations out."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, operation_id: str) -> float | None:
        """Change the next peers; return after how many s to go on, or None when it has ended."""
        faultpoints.reached("peer_changes.step.before")
        going_on = await in_thread(self._step, operation_id)
        faultpoints.reached("peer_changes.step.after")
        return PAUSE_S if going_on else None

    def _step(self, operation_id: str) -> bool:
        with self._store.write() as tx:
            return peer_changes.step(tx, operation_id)
