"""Looks every hour who is still in the directories that vouch for users, and disables who is not."""

import structlog

from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.errors import PanelError, told
from wgfleet.panel.identity import directory
from wgfleet.panel.identity.directory import DirectoryOptions
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.access import external, providers
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault

EVERY_S = 3600.0
log = structlog.get_logger()


class Directories:
    """Runs until its task is cancelled."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def run(self) -> None:
        """Look, again and again."""
        await keep_looking(self.sync_all, EVERY_S, "directories.failed")

    async def sync_all(self) -> None:
        """Look into each directory; one that is down changes nothing."""
        for provider_id, options in await in_thread(self._enabled):
            await in_thread(self._sync, provider_id, options)

    def _enabled(self) -> list[tuple[str, DirectoryOptions]]:
        with self._store.read() as tx:
            found = providers.listed(tx, ProviderKind.LDAP, enabled=True)
            return [(row.id, providers.directory(self._vault, row)) for row in found]

    def _sync(self, provider_id: str, options: DirectoryOptions) -> None:
        try:
            present = directory.everybody(options)
            with self._store.write() as tx:
                done = external.sync(tx, self._vault, providers.get(tx, provider_id), present)
            if done.disabled or done.changed:
                log.info("directory.synced", provider_id=provider_id, disabled=done.disabled, changed=done.changed)
        except PanelError as error:
            log.warning("directory.not_synced", provider_id=provider_id, error=str(error))
            with self._store.write() as tx:
                external.failed(tx, provider_id, told(error))
