"""Checkpoints of the database, made now and then by a thread for which nobody waits."""

from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.store import Store

EVERY_S = 2.0  # at 200 nodes with 1,000 peers each the journal grows by some 10 MB in that time


class Checkpoints:
    """Runs until its task is cancelled."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> None:
        """Make one, again and again."""
        await keep_looking(self.make, EVERY_S, "database.no_checkpoint")

    async def make(self) -> None:
        """Make one."""
        await in_thread(self._store.checkpoint)
