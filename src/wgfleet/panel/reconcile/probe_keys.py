"""A look now and then whether the rotation of a config's probe keys can go on."""

import structlog

from wgfleet.panel import faultpoints
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services.fleet import probe_keys
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault, VaultError

EVERY_S = 5.0

log = structlog.get_logger()


class ProbeKeyWatch:
    """Runs until its task is cancelled."""

    def __init__(self, store: Store, vault: Vault, outlook: Outlook) -> None:
        self._store = store
        self._vault = vault
        self._outlook = outlook

    async def run(self) -> None:
        """Look, again and again."""
        await keep_looking(self._look, EVERY_S, "probe_keys.not_read")

    async def _look(self) -> None:
        if self._outlook.superseded is None:
            await in_thread(self.look)

    def look(self) -> None:
        """Take the next step of each rotation where that is due."""
        with self._store.read() as tx:
            due = [(row.config_id, row.step) for row in probe_keys.rotations(tx).values() if probe_keys.is_due(tx, row)]
        for config_id, step in due:
            try:
                faultpoints.reached(f"probe_keys.{step}.before")
                with self._store.write() as tx:
                    probe_keys.advance(tx, self._vault, config_id)
                faultpoints.reached(f"probe_keys.{step}.after")
            except (PanelError, VaultError) as error:  # keeps no other config from its step
                log.warning("probe_keys.rotation_held_up", config_id=config_id, error=str(error))
