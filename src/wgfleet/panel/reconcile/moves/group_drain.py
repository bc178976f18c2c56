"""The drain of a group, from rows: one step a look. The drains of its nodes are carried out by `moves`."""

from wgfleet.panel import faultpoints
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import operations
from wgfleet.panel.services.moves import cancelling, group_drain
from wgfleet.panel.store import Store

POLL_S = 0.5  # for the drains of the node that it is at


class GroupDrainReconciler:
    """Carries group drains out."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reconcile(self, operation_id: str) -> float | None:
        """Do what can be done now; return after how many s to look again, or None when it has ended."""
        faultpoints.reached("group_drain.step.before")
        going_on = await in_thread(self._step, operation_id)
        faultpoints.reached("group_drain.step.after")
        return POLL_S if going_on else None

    def _step(self, operation_id: str) -> bool:
        with self._store.write() as tx:
            cancelling.stop_if_due(tx, operations.get(tx, operation_id))
            return group_drain.step(tx, operation_id)
