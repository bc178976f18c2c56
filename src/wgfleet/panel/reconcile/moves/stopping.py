"""The stop of operations whose requester may not do this any more: looked for before each of their steps."""

from collections.abc import Awaitable, Callable

from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import operations
from wgfleet.panel.services.moves import cancelling
from wgfleet.panel.store import Store

Reconcile = Callable[[str], Awaitable[float | None]]


class Stopping:
    """Made for one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def before(self, reconcile: Reconcile) -> Reconcile:
        """Return what looks, and then reconciles."""

        async def looked(operation_id: str) -> float | None:
            await in_thread(self._look, operation_id)
            return await reconcile(operation_id)

        return looked

    def _look(self, operation_id: str) -> None:
        with self._store.read() as tx:
            if not cancelling.is_due(tx, operations.get(tx, operation_id)):
                return
        with self._store.write() as tx:
            cancelling.stop_if_due(tx, operations.get(tx, operation_id))
