"""The watch of jobs: again and again, all peers that have some are decided upon, and what follows is done.

It keeps nothing that it would miss after a restart. Looks are as far apart as keeps them cheap.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from wgfleet.panel import clock
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.agents.quota_sender import Wanted
from wgfleet.panel.reconcile.agents.shared_files import SharedFiles
from wgfleet.panel.reconcile.engine.tasks import came_round
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.jobs import decisions, quotas
from wgfleet.panel.services.jobs.decisions import LimitDecision, PeriodBases
from wgfleet.panel.store import Store

EVERY_S = 2.0
SHARE = 0.2  # of the time that looks may take
AT_ONCE = 500  # peers in a transaction, so that nobody waits for long

log = structlog.get_logger()


class JobWatch:
    """Runs until its task is cancelled. `send` says to nodes how much of what peers have left they let through."""

    def __init__(
        self,
        store: Store,
        send: Callable[[Wanted], Awaitable[None]] | None = None,
        shared: SharedFiles | None = None,
    ) -> None:
        self._store = store
        self._shared = shared or SharedFiles()
        self._send = send
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
        found, wanted = await in_thread(self._decide)
        changing = [each.peer.id for each in found if each.changes]
        if shared := self._shared.found(clock.monotonic()):
            changing += await in_thread(self._note_shared, found, shared)
        for start in range(0, len(changing), AT_ONCE):
            came_round()
            await in_thread(self._apply, changing[start : start + AT_ONCE])
        if self._send is not None:
            await self._send(wanted)

    def _decide(self) -> tuple[list[LimitDecision], Wanted]:
        with self._store.read() as tx:
            found = decisions.decide(tx, clock.now(), self._bases)
            self.counting = decisions.counting_nodes(tx, found)
            self._shared.configs = decisions.device_configs(found)
            wanted = quotas.of_nodes(tx, found) if self._send is not None else {}
        return found, wanted

    def _note_shared(self, found: list[LimitDecision], shared: dict[tuple[str, str], int]) -> list[str]:
        with self._store.write() as tx:
            return decisions.note_shared(tx, found, shared, clock.now())

    def _apply(self, peer_ids: list[str]) -> None:
        with self._store.write() as tx:
            # Read again: what an administrator did meanwhile counts.
            for each in decisions.apply(tx, decisions.decide(tx, clock.now(), self._bases, peer_ids), clock.now()):
                log.info("job.applied", peer_id=each.peer.id, because=each.verdict.restrict)
