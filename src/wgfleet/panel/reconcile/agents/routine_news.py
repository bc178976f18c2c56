"""Routine news of nodes: that one has what only its peers changed for, and that its cycle did nothing else.

Nobody waits for these, and a peer that is made is news of each of its nodes. So they are written a second's worth at a
time: a transaction for all, and of each node the latest only.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile.agents.connection import Reported
from wgfleet.panel.reconcile.agents.summaries import Summary, SummaryWriter, write_in
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.fleet import assignments
from wgfleet.panel.store import Store
from wgfleet.panel.store.assignments import AppliedPeers

EVERY_S = 1.0

Member = tuple[str, str]
"""A node and a config, by their ids."""


@dataclass(frozen=True, slots=True)
class KeptNews:
    """A report that is to be written, and that does not have to be confirmed apart any more."""

    reported: Reported
    row: AppliedPeers


class RoutineNews:
    """Keeps routine news until `run` writes it, with the `summaries` that are due by then."""

    def __init__(self, store: Store, summaries: SummaryWriter) -> None:
        self._store = store
        self._summaries = summaries
        self._kept: dict[Member, KeptNews] = {}

    def keep(self, node_id: str, reported: Reported) -> None:
        """Keep that a node has applied what is reported."""
        row = AppliedPeers(reported.config_id, node_id, reported.generation, clock.now(), reported.summary)
        self._kept[node_id, reported.config_id] = KeptNews(reported, row)

    def has(self, node_id: str, reported: Reported | None) -> bool:
        """Tell whether just this report of a node is kept, and will be written."""
        kept = None if reported is None else self._kept.get((node_id, reported.config_id))
        return kept is not None and kept.reported == reported

    def forget(self, node_id: str, config_id: str) -> None:
        """Forget what is kept: what is more than routine has been written since."""
        self._kept.pop((node_id, config_id), None)

    async def run(self) -> None:
        """Write again and again until cancelled."""
        await keep_looking(self.flush, EVERY_S, "routine_news.kept")

    async def flush(self) -> None:
        """Write what is kept."""
        kept, self._kept = self._kept, {}
        summaries = self._summaries.take()
        if not kept and not summaries:
            return
        try:
            await in_thread(self._write, kept.values(), summaries.values())
        except (Unavailable, asyncio.CancelledError):
            self._kept = {**kept, **self._kept}
            self._summaries.give_back(summaries)
            raise
        except Exception:
            # Whatever it is: each node's next cycle finds what is missing, and writes it by itself.
            self._summaries.doubt(summaries)
            raise

    def _write(self, kept: Iterable[KeptNews], summaries: Iterable[Summary]) -> None:
        with self._store.write() as tx:
            assignments.applied_peers(tx, [each.row for each in kept])
            write_in(tx, summaries)
