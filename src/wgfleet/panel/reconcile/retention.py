"""Retention: once an hour, delete what has been kept long enough; and each minute what the audit log has too much.

Every replica may do so; the second finds nothing.
"""

from collections.abc import Mapping

import structlog

from wgfleet.panel import clock
from wgfleet.panel.reconcile.engine.tasks import came_round, keep_looking
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import audit, retention
from wgfleet.panel.services.retention import Kept
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store

EVERY_S = 3600.0
AUDIT_EVERY_S = 60.0
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
            forget = self._forget_sessions if kept == Kept.SESSIONS else self._forget
            while (count := await in_thread(forget, kept, before)) == retention.BATCH:
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

    def _forget_sessions(self, _kept: Kept, before: float) -> int:
        with self._store.read() as tx:
            found = retention.old_sessions(tx, before)
        with self._store.write() as tx:
            retention.forget_sessions(tx, before, found)
        return len(found)


class AuditBound:
    """Runs until its task is cancelled: keeps the audit log from growing without end.

    `most`: entries. `days`: for how long they are kept otherwise; None: for ever.
    """

    def __init__(self, store: Store, most: int, days: int | None) -> None:
        self._store = store
        self._most = most
        self._days = days

    async def run(self) -> None:
        """Shorten the log, again and again."""
        await keep_looking(lambda: self.shorten(clock.now()), AUDIT_EVERY_S, "audit.not_shortened")

    async def shorten(self, now: float) -> None:
        """Delete the oldest entries where there are too many at the time `now`, a few in each transaction."""
        number = await in_thread(self._too_many)
        if number is None:
            return
        total, last_at = 0, 0.0
        count = retention.BATCH
        while count == retention.BATCH:
            came_round()
            count, at = await in_thread(self._forget, number)
            total, last_at = total + count, max(last_at, at)
        if self._days is not None and last_at < now - self._days * DAY_S:
            log.info("retention.deleted", kept=Kept.AUDIT.value, rows=total)
            return
        log.warning("audit.shortened", rows=total, days=(now - last_at) / DAY_S, keep_entries=self._most)
        await in_thread(self._note, total, last_at)

    def _too_many(self) -> int | None:
        with self._store.read() as tx:
            return audit.too_many(tx, self._most)

    def _forget(self, number: int) -> tuple[int, float]:
        with self._store.write() as tx:
            return audit.forget_up_to(tx, number, retention.BATCH)

    def _note(self, entries: int, last_at: float) -> None:
        with self._store.write() as tx:
            audit.note_shortened(tx, entries, last_at, self._most)


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
        Kept.USAGE_HOURS: kept.usage_hours_days,
        Kept.USAGE: kept.usage_days,
        Kept.VISITS: kept.session_history_days,
    }
    forever = {thing for thing, number in days.items() if not number}
    if not settings.usage.session_history:
        days[Kept.VISITS], forever = 0, forever - {Kept.VISITS}
    return {thing: number for thing, number in days.items() if thing not in forever}
