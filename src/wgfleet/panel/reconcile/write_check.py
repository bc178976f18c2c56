"""The write check: whether the database takes changes, asked now and then by making one.

Reading goes on with a full disk, and beside a writer that hangs; a panel that cannot write decides nothing.
"""

import asyncio

import structlog

from wgfleet.panel import clock
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.engine.tasks import came_round
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import installation
from wgfleet.panel.store import Store

CHECK_S = 5.0  # each is one more commit that reaches the disk

log = structlog.get_logger()


class WriteCheck:
    """Notes in the outlook why the database takes no changes; `run` is a background task."""

    def __init__(self, store: Store, outlook: Outlook) -> None:
        self._store = store
        self._outlook = outlook

    async def run(self) -> None:
        """Write now and then until cancelled."""
        while True:
            came_round()
            await self.check()
            await asyncio.sleep(CHECK_S)

    async def check(self) -> None:
        """Write once."""
        try:
            await in_thread(self._write)
        except PanelError as error:
            if self._outlook.unwritable is None:
                log.error("database.unwritable", error=error.detail)  # noqa: TRY400 - not a bug
            self._outlook.unwritable = error.detail
        else:
            self._outlook.unwritable = None

    def _write(self) -> None:
        with self._store.write() as tx:
            installation.note_written(tx, clock.now())
