"""A look now and then whether rotations of keys can go on: those of the CA and of configs' probe keys."""

from collections.abc import Callable
from functools import partial

import structlog

from wgfleet.panel import faultpoints
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services.fleet import authority_rotation, probe_keys
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.vault import Vault, VaultError

EVERY_S = 2.0

log = structlog.get_logger()


class KeyRotationWatch:
    """Runs until its task is cancelled."""

    def __init__(self, store: Store, vault: Vault, outlook: Outlook) -> None:
        self._store = store
        self._vault = vault
        self._outlook = outlook

    async def run(self) -> None:
        """Look, again and again."""
        await keep_looking(self._look, EVERY_S, "key_rotations.not_read")

    async def _look(self) -> None:
        if self._outlook.superseded is None:
            await in_thread(self.look)

    def look(self) -> None:
        """Take the next step of each where that is due."""
        with self._store.read() as tx:
            due = self._due(tx)
        for point, advance in due:
            try:
                faultpoints.reached(f"{point}.before")
                with self._store.write() as tx:
                    advance(tx, self._vault)
                faultpoints.reached(f"{point}.after")
            except (PanelError, VaultError) as error:  # keeps no other from its step
                log.warning("key_rotation.held_up", step=point, error=str(error))

    def _due(self, tx: Tx) -> list[tuple[str, Callable[[Tx, Vault], None]]]:
        due: list[tuple[str, Callable[[Tx, Vault], None]]] = [
            (f"probe_keys.{row.step}", partial(probe_keys.advance, config_id=row.config_id))
            for row in probe_keys.rotations(tx).values()
            if probe_keys.is_due(tx, row)
        ]
        ca = authority_rotation.rotation(tx)
        if ca is not None and authority_rotation.is_due(tx, ca):
            due.append((f"authority.{ca.step}", authority_rotation.advance))
        return due
