"""The watch of jobs: again and again, all peers that have some are decided upon, and what follows is done.

It keeps nothing that it would miss after a restart. Looks are as far apart as keeps them cheap.
"""

import asyncio

import structlog

from wgfleet.panel import clock
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.engine.tasks import came_round
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.jobs import decisions
from wgfleet.panel.services.jobs.decisions import LimitDecision, PeriodBases
from wgfleet.panel.store import Store

EVERY_S = 2.0
SHARE = 0.1  # of the time that looks may take
AT_ONCE = 500  # peers in a transaction, so that nobody waits for long

log = structlog.get_logger()


class JobWatch:
    """Runs until its task is cancelled."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bases = PeriodBases()
        self.counting: set[str] = set()
        """Nodes whose counters decide on somebody soon."""

    async def run(self) -> None:
        """Look, again and again."""
        while True:
            came_round()
            begun = clock.monotonic()
            try:
                await self.look()
            except PanelError as error:
                log.warning("jobs.failed", error=str(error))
            took = clock.monotonic() - begun
            await asyncio.sleep(max(EVERY_S, took / SHARE - took))

    async def look(self) -> None:
        """Decide on all, and do what follows."""
        found = await in_thread(self._decide)
        changing = [each.peer.id for each in found if each.changes]
        for start in range(0, len(changing), AT_ONCE):
            came_round()
            await in_thread(self._apply, changing[start : start + AT_ONCE])

    def _decide(self) -> list[LimitDecision]:
        with self._store.read() as tx:
            found = decisions.decide(tx, clock.now(), self._bases)
            self.counting = decisions.counting_nodes(tx, found)
        return found

    def _apply(self, peer_ids: list[str]) -> None:
        with self._store.write() as tx:
            # Read again: what an administrator did meanwhile counts.
            for each in decisions.apply(tx, decisions.decide(tx, clock.now(), self._bases, peer_ids), clock.now()):
                log.info("job.applied", peer_id=each.peer.id, because=each.verdict.restrict)
