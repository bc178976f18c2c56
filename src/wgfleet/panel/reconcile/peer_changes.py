"""Changes of many peers, from rows: slice after slice, with pauses in which others have their turn."""

from wgfleet.panel import faultpoints, machine
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import operations, peer_changes, table_changes
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault
from wgfleet.protocol.errors import FieldError

PAUSE_S = 0.02
REFUSALS = (Conflict, FieldError, Invalid, NotFound)


class PeerChangeReconciler:
    """Carries such operations out."""

    def __init__(self, store: Store, vault: Vault, settings: Settings) -> None:
        self._store = store
        self._vault = vault
        self._settings = settings

    async def reconcile(self, operation_id: str) -> float | None:
        """Change the next peers; return after how many s to go on, or None when it has ended."""
        faultpoints.reached("peer_changes.step.before")
        going_on = await in_thread(self._step, operation_id)
        faultpoints.reached("peer_changes.step.after")
        return PAUSE_S if going_on else None

    def _step(self, operation_id: str) -> bool:
        try:
            return self._change(operation_id, None)
        except REFUSALS:
            with self._store.read() as tx:
                if not peer_changes.is_of_table(operations.get(tx, operation_id)):
                    raise
        return self._one_by_one(operation_id)

    def _one_by_one(self, operation_id: str) -> bool:
        """Change the next peers of a table each by itself, as one of them cannot be; nothing of the slice was done."""
        for _ in range(peer_changes.LINES):
            try:
                if not self._change(operation_id, 1):
                    return False
            except REFUSALS as error:
                with self._store.write() as tx:
                    peer_changes.refuse_next(tx, operation_id, error.detail)
        return True

    def _change(self, operation_id: str, limit: int | None) -> bool:
        hosts = machine.hosts(self._settings.own_hosts(), complete=bool(self._settings.own_addresses))
        with self._store.write() as tx:
            table_changes.hold_next_owners(tx, operation_id)  # before the config: the order of who disables them
            return peer_changes.step(tx, operation_id, table_changes.slices(self._vault, hosts), limit)
