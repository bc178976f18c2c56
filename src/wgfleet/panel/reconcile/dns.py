"""DNS worker: one cycle of a published name, from its desired records in rows to the result of a sync.

Decides when a name is synced. A slow provider delays only its own names.
"""

import traceback
from collections import Counter
from collections.abc import Collection

import structlog

from wgfleet.panel import clock
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.domain.dns.states import ErrorClass
from wgfleet.panel.domain.dns.target import SyncResult
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.engine.threads import in_own_thread, in_thread
from wgfleet.panel.services.dns import desired, results, syncs
from wgfleet.panel.services.dns.desired import DueSync, Schedule
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import Store
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.vault import Vault

# Calls under way for one kind of provider, each in a thread: checks for drift can wait, and leave room for changes.
CHECKS_AT_ONCE, CHANGES_AT_ONCE = 8, 64
CHECKS_WAIT_S, CHANGES_WAIT_S = 10.0, 1.0  # at most, until a name tries again to get its turn

log = structlog.get_logger()


class DnsWorker:
    """Keeps names at their desired records."""

    def __init__(self, store: Store, vault: Vault, publisher: Publisher, rules: DnsSettings) -> None:
        self._store = store
        self._vault = vault
        self._publisher = publisher
        self._rules = rules
        self._under_way: Counter[tuple[str, bool]] = Counter()

    def close(self) -> None:
        """Close the providers; the first sync after the next start finds out what an unfinished call did."""
        self._publisher.close()

    def concerned(self, configs: Collection[str], assignments: Collection[str], nodes: Collection[str]) -> list[str]:
        """Return the names that depend on some rows."""
        with self._store.read() as tx:
            more = dns_rows.configs_of(tx, assignments, nodes) if assignments or nodes else []
            found = {*configs, *more}
        self.begin_lacking(found)
        with self._store.read() as tx:
            return dns_rows.ids_of(tx, found)

    def begin_lacking(self, configs: Collection[str] | None = None) -> None:
        """Begin the names of nodes that have come to serve, of some configs (None: of all)."""
        with self._store.read() as tx:
            lacking = syncs.lacking(tx, dns_rows.publishing(tx) if configs is None else configs)
        for config_id in lacking:
            with self._store.write() as tx:
                syncs.begin_for_nodes(tx, self._vault, config_id)

    async def reconcile(self, sync_id: str) -> float | None:
        """Do one cycle for a name; return the s until the next, or None to wait for a change."""
        schedule = await in_thread(self._schedule, sync_id)
        if schedule.due is None:
            if schedule.wait_s is None:
                self._publisher.forget(sync_id)
            return schedule.wait_s
        target = schedule.due.target
        turn = target.provider, target.routine
        at_once, wait_s = (CHECKS_AT_ONCE, CHECKS_WAIT_S) if target.routine else (CHANGES_AT_ONCE, CHANGES_WAIT_S)
        if self._under_way[turn] >= at_once:
            return wait_s * (1 + clock.fraction()) / 2
        self._under_way[turn] += 1
        try:
            await self._sync(schedule.due)
        finally:
            self._under_way[turn] -= 1
        # The row has what is next, even if somebody asked for another sync in the meantime.
        return (await in_thread(self._next, sync_id)).wait_s

    def _next(self, sync_id: str) -> Schedule:
        with self._store.read() as tx:
            return desired.waiting(tx, sync_id, self._rules) or Schedule(wait_s=0.0)

    def _schedule(self, sync_id: str) -> Schedule:
        with self._store.read() as tx:
            waiting = desired.waiting(tx, sync_id, self._rules)
        if waiting is not None:
            return waiting
        with self._store.write() as tx:
            return desired.record_desired(tx, self._vault, sync_id, self._rules)

    async def _sync(self, due: DueSync) -> None:
        target, metrics = due.target, self._publisher.metrics
        try:
            result = await in_own_thread(self._publisher.sync, target)
        except (TransientError, PermanentError, PanelError) as error:
            error_class = await in_thread(self._record_failure, due, error)
            log.warning("dns.failing", name=target.name, provider=target.provider, error=str(error))
        except Exception as error:  # noqa: BLE001 - a provider's bug, which must not end the worker
            # Log where it was raised, but not its text: that may hold a credential.
            error_class = await in_thread(self._record_failure, due, error)
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error(  # noqa: TRY400 - the exception's own text would be logged
                "dns.failed", name=target.name, provider=target.provider, error=type(error).__name__, where=where
            )
        else:
            seconds = await in_thread(self._record_result, due, result)
            if seconds is not None:
                metrics.observe_publication(seconds)
            if target.withdrawn:
                self._publisher.forget(target.id)
            return
        metrics.count_failure(target.provider, error_class)

    def _record_result(self, due: DueSync, result: SyncResult | None) -> float | None:
        with self._store.write() as tx:
            return results.record_result(tx, due, result, self._rules)

    def _record_failure(self, due: DueSync, error: Exception) -> ErrorClass:
        with self._store.write() as tx:
            return results.record_failure(tx, due, error, self._rules)
