"""A worker for each published name: what is wanted is read fresh, one look at the provider, what came of it is written.

Owns when a name is looked at. A provider that is slow keeps nobody waiting but its own name.
"""

import traceback
from collections.abc import Collection

import structlog

from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.domain.dns.target import Outcome
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.engine.threads import in_own_thread, in_thread
from wgfleet.panel.services.dns import results, wanted
from wgfleet.panel.services.dns.wanted import Decision, Job
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.store import Store
from wgfleet.panel.store import dns as dns_rows
from wgfleet.panel.vault import Vault

log = structlog.get_logger()


class DnsWorker:
    """Keeps names as wanted."""

    def __init__(self, store: Store, vault: Vault, publisher: Publisher, rules: DnsSettings) -> None:
        self._store = store
        self._vault = vault
        self._publisher = publisher
        self._rules = rules

    def close(self) -> None:
        """Close the providers; what was begun at one is seen by the first look after the next start."""
        self._publisher.close()

    def concerned(self, configs: Collection[str], assignments: Collection[str], nodes: Collection[str]) -> list[str]:
        """Return the names that some rows have a part in."""
        with self._store.read() as tx:
            more = dns_rows.configs_of(tx, assignments, nodes) if assignments or nodes else []
            return dns_rows.ids_of(tx, {*configs, *more})

    async def reconcile(self, sync_id: str) -> float | None:
        """Do one cycle for a name; return after how many s to look again, or None for when something changes."""
        decision = await in_thread(self._decide, sync_id)
        if decision.job is None:
            if decision.wait_s is None:
                self._publisher.forget(sync_id)
            return decision.wait_s
        await self._look(decision.job)
        # What is due next is in the row: also where somebody asked for another look meanwhile.
        return (await in_thread(self._idle, sync_id)).wait_s

    def _idle(self, sync_id: str) -> Decision:
        with self._store.read() as tx:
            return wanted.is_idle(tx, sync_id, self._rules) or Decision(wait_s=0.0)

    def _decide(self, sync_id: str) -> Decision:
        with self._store.read() as tx:
            idle = wanted.is_idle(tx, sync_id, self._rules)
        if idle is not None:
            return idle
        with self._store.write() as tx:
            return wanted.decide(tx, self._vault, sync_id, self._rules)

    async def _look(self, job: Job) -> None:
        target = job.target
        try:
            outcome = await in_own_thread(self._publisher.look, target)
        except (TransientError, PermanentError, PanelError) as error:
            error_class = await in_thread(self._failed, job, error)
            log.warning("dns.failing", name=target.name, provider=target.provider, error=str(error))
        except Exception as error:  # noqa: BLE001 - a bug of a provider's, which must not end the worker
            # Say where it is, but not its words: they may hold a credential.
            error_class = await in_thread(self._failed, job, error)
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error(  # noqa: TRY400 - the exception's own words would be logged
                "dns.failed", name=target.name, provider=target.provider, error=type(error).__name__, where=where
            )
        else:
            seconds = await in_thread(self._looked, job, outcome)
            if seconds is not None:
                self._publisher.meters.published(seconds)
            if target.withdrawn:
                self._publisher.forget(target.id)
            return
        self._publisher.meters.failed(target.provider, error_class)

    def _looked(self, job: Job, outcome: Outcome | None) -> float | None:
        with self._store.write() as tx:
            return results.looked(tx, job, outcome, self._rules)

    def _failed(self, job: Job, error: Exception) -> str:
        with self._store.write() as tx:
            return results.failed(tx, job, error, self._rules)
