"""Batches of peers with which nobody goes on: what they have made is undone, a little in each transaction.

Who makes one holds its id while that process lives, so that a batch whose maker was killed is known at once. One whose
maker lives and stands still is abandoned after a while.
"""

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
        for batch_id in await in_thread(abandoned, self._store):
            while await in_thread(_undo, self._store, batch_id):
                came_round()


def take_back(store: Store) -> None:
    """Undo what is abandoned now, for a call that is not to wait until the core looks."""
    for batch_id in abandoned(store):
        while _undo(store, batch_id):
            pass


def abandoned(store: Store) -> list[str]:
    """Return the batches with which nobody goes on."""
    with store.read() as tx:
        found = peer_batches.under_way(tx)
    return [batch_id for batch_id, stands_still in found.items() if stands_still or not store.is_held(batch_id)]


def _undo(store: Store, batch_id: str) -> bool:
    with store.write() as tx:
        more = peer_batches.undo(tx, audit.PANEL, batch_id)
    if not more:
        log.warning("peer_batch.undone", batch_id=batch_id)
    return more
