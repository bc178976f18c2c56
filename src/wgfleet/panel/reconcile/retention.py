"""Retention: once an hour, delete what has been kept long enough. Every replica may do so; the second finds nothing."""

from collections.abc import Mapping

import structlog

from wgfleet.panel import clock
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import retention
from wgfleet.panel.services.retention import Kept
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store

EVERY_S = 3600.0
DAY_S = 86400.0
TOMBSTONES_S = DAY_S  # a node that is away for longer gets the whole
TOKENS_DAYS = 30  # the audit log has who used it
DNS_ACCOUNTS_DAYS = 7  # every provider's rate limit is whole again by then

log = structlog.get_logger()


class Retention:
    """Runs until its task is cancelled. `days`: for how long each thing is kept; what is not there is kept for ever."""

    def __init__(self, store: Store, days: Mapping[Kept, int]) -> None:
        self._store = store
        self._days = days

    async def run(self) -> None:
        """Delete what is old, again and again."""
        await keep_looking(lambda: self.prune(clock.now()), EVERY_S, "retention.failed")

    async def prune(self, now: float) -> None:
        """Delete what is old at the time `now`, a little in each transaction."""
        for config_id in await in_thread(self._configs, now - TOMBSTONES_S):
            oldest_base = await in_thread(self._forget_tombstones, config_id, now - TOMBSTONES_S)
            log.info("tombstones.forgotten", config_id=config_id, oldest_base=oldest_base)
        for kept in Kept:
            if kept not in self._days:
                continue
            before = now - self._days[kept] * DAY_S
            total = 0
            while (count := await in_thread(self._forget, kept, before)) == retention.BATCH:
                total += count
            if total + count:
                log.info("retention.deleted", kept=kept.value, rows=total + count)

    def _configs(self, before: float) -> list[str]:
        with self._store.read() as tx:
            return retention.configs_with_tombstones(tx, before)

    def _forget_tombstones(self, config_id: str, before: float) -> int | None:
        with self._store.write() as tx:
            return retention.forget_tombstones(tx, config_id, before)

    def _forget(self, kept: Kept, before: float) -> int:
        with self._store.write() as tx:
            return retention.forget(tx, kept, before)


def days_kept(settings: Settings) -> dict[Kept, int]:
    """Return for how many days the settings keep each thing; what they keep for ever is left out."""
    kept = settings.retention
    days = {
        Kept.AUDIT: settings.audit.keep_days,
        Kept.HEALTH: kept.health_days,
        Kept.MOVES: kept.moves_days,
        Kept.OPERATIONS: kept.operations_days,
        Kept.BACKUPS: kept.backups_days,
        Kept.SESSIONS: kept.sessions_days,
        Kept.JOIN_TOKENS: TOKENS_DAYS,
        Kept.CERTIFICATES: kept.certificates_days,
        Kept.DNS_ACCOUNTS: DNS_ACCOUNTS_DAYS,
    }
    return {thing: number for thing, number in days.items() if number}
