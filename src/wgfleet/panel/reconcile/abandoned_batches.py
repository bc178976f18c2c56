"""Batches of peers whose maker was killed: what they have made is undone, a little in each transaction."""

import structlog

from wgfleet.panel.reconcile.engine.tasks import came_round, keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import audit
from wgfleet.panel.services.fleet import peer_batches
from wgfleet.panel.services.fleet.unfinished_peers import LOOKED_FOR_S
from wgfleet.panel.store import Store

log = structlog.get_logger()


class AbandonedBatches:
    """Runs until its task is cancelled."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> None:
        """Undo what is abandoned, again and again."""
        await keep_looking(self.look, LOOKED_FOR_S, "peer_batches.failed")

    async def look(self) -> None:
        """Undo what is abandoned now."""
        for batch_id in await in_thread(self._abandoned):
            log.warning("peer_batch.undone", batch_id=batch_id)
            while await in_thread(self._undo, batch_id):
                came_round()

    def _abandoned(self) -> list[str]:
        with self._store.read() as tx:
            return peer_batches.abandoned(tx)

    def _undo(self, batch_id: str) -> bool:
        with self._store.write() as tx:
            return peer_batches.undo(tx, audit.PANEL, batch_id)
