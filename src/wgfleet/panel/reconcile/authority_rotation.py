"""A look now and then whether the replacement of the CA can go on."""

import structlog

from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services.fleet import authority_rotation
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault, VaultError

EVERY_S = 2.0

log = structlog.get_logger()


class AuthorityRotationWatch:
    """Runs until its task is cancelled."""

    def __init__(self, store: Store, vault: Vault, outlook: Outlook) -> None:
        self._store = store
        self._vault = vault
        self._outlook = outlook

    async def run(self) -> None:
        """Look, again and again."""
        await keep_looking(self._look, EVERY_S, "authority_rotation.not_read")

    async def _look(self) -> None:
        if self._outlook.superseded is None:
            await in_thread(self.look)

    def look(self) -> None:
        """Take the next step where that is due."""
        with self._store.read() as tx:
            row = authority_rotation.rotation(tx)
            if row is None or not authority_rotation.is_due(tx, row):
                return
        try:
            with self._store.write() as tx:
                authority_rotation.advance(tx, self._vault)
        except (PanelError, VaultError) as error:
            log.warning("authority_rotation.held_up", error=str(error))
