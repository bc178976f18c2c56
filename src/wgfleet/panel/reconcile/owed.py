"""A look now and then at the changes that have not reached their nodes, so that somebody hears of it."""

from functools import partial

import structlog

from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.fleet import owed
from wgfleet.panel.store import Store

EVERY_S = 5.0

log = structlog.get_logger()


class OwedWatch:
    """Runs until its task is cancelled."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: set[str] = set()

    async def run(self) -> None:
        """Look, again and again."""
        await keep_looking(partial(in_thread, self.look), EVERY_S, "owed.not_read")

    def look(self) -> None:
        """Write down what is late, where anything is."""
        with self._store.read() as tx:
            if not owed.worth_noting(tx, self._told):
                return
            late = owed.newly_late(tx, self._told)
        told = set(self._told)
        with self._store.write() as tx:
            owed.note(tx, told, late)
        # Only now: what was not committed has not been said.
        for assignment_id in told - self._told:
            log.warning("changes.do_not_arrive", assignment_id=assignment_id)
        self._told = told
