"""A look now and then at whether the database plans with what its tables have by now, and counts in few rows."""

import structlog

from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.store import Store, homes
from wgfleet.panel.store.statistics import analyze_grown

EVERY_S = 3.0

log = structlog.get_logger()


class Statistics:
    """Runs until its task is cancelled."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> None:
        """Look, again and again."""
        await keep_looking(self.look, EVERY_S, "statistics.not_made")

    async def look(self) -> None:
        """Have statistics made of tables that have grown, and counts of homes summed up."""
        await in_thread(homes.sum_up, self._store)
        grown = await in_thread(analyze_grown, self._store)
        if grown:
            log.info("statistics.made", tables=grown)
