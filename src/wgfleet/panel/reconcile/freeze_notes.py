"""Notes for people on nodes that are left in use until one of them decides, and why."""

import structlog

from wgfleet.panel import clock
from wgfleet.panel.domain.health.judge import SilentNodes
from wgfleet.panel.reconcile.engine.threads import in_decision_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import freezes
from wgfleet.panel.store import Store
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.reasons import Reason

AGAIN_S = 1.0  # between two writings of the list

log = structlog.get_logger()


class FreezeNotes:
    """Keeps the row of a freeze as the watch has it. `settles_s`: after its start, before it ends one of before."""

    def __init__(self, store: Store, outlook: Outlook, settles_s: float) -> None:
        self._store = store
        self._outlook = outlook
        self._settles_s = settles_s
        self._began_at = clock.monotonic()
        self._told: SilentNodes | None = None
        self._told_at: float | None = None  # None: the row may be from before the start

    async def tell(self, frozen: SilentNodes | None, one_sided: set[NodeId]) -> None:
        """Say what is frozen now, and the nodes that only one side misses."""
        told = frozen
        if told is None and one_sided:
            told = SilentNodes(
                Reason("all that miss these nodes stand in one site, which may be what is cut off"),
                tuple(sorted(one_sided)),
            )
        if (told is None) != (self._outlook.frozen is None):
            log.warning("health.frozen" if told else "health.unfrozen", reason=told.reason if told else "")
        self._outlook.frozen = told.reason if told else None
        now = clock.monotonic()
        if self._told_at is None:
            due = told is not None or now - self._began_at > self._settles_s
        else:
            # The list grows and shrinks with each probe at first; the row follows within a second.
            turned = (told is None) != (self._told is None)
            due = turned or (told != self._told and now - self._told_at > AGAIN_S)
        if due:
            await in_decision_thread(self._keep, told)
            self._told, self._told_at = told, now

    def _keep(self, told: SilentNodes | None) -> None:
        with self._store.write() as tx:
            if told is None:
                freezes.end(tx)
            else:
                freezes.begin(tx, told.reason, told.nodes)
