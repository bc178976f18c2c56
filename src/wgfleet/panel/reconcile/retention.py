"""Retention: once an hour, delete what has been kept long enough. Every replica may do so; the second finds nothing."""

import asyncio

import structlog

from wgfleet.panel import clock
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import retention
from wgfleet.panel.store import Store

EVERY_S = 3600.0
DAY_S = 86400.0
TOMBSTONES_S = DAY_S  # a node that is away for longer gets the whole

log = structlog.get_logger()


class Retention:
    """Runs until its task is cancelled. `audit_days` 0: the audit log is kept for ever."""

    def __init__(self, store: Store, audit_days: int) -> None:
        self._store = store
        self._audit_days = audit_days

    async def run(self) -> None:
        """Delete what is old, again and again."""
        while True:
            try:
                await self.prune(clock.now())
            except PanelError as error:
                log.warning("retention.failed", error=str(error), seconds_to_next=EVERY_S)
            await asyncio.sleep(EVERY_S)

    async def prune(self, now: float) -> None:
        """Delete what is old at the time `now`, a little in each transaction."""
        for config_id in await in_thread(self._configs, now - TOMBSTONES_S):
            oldest_base = await in_thread(self._forget_tombstones, config_id, now - TOMBSTONES_S)
            log.info("tombstones.forgotten", config_id=config_id, oldest_base=oldest_base)
        if self._audit_days:
            while await in_thread(self._forget_audit_entries, now - self._audit_days * DAY_S):
                pass

    def _configs(self, before: float) -> list[str]:
        with self._store.read() as tx:
            return retention.configs_with_tombstones(tx, before)

    def _forget_tombstones(self, config_id: str, before: float) -> int | None:
        with self._store.write() as tx:
            return retention.forget_tombstones(tx, config_id, before)

    def _forget_audit_entries(self, before: float) -> bool:
        with self._store.write() as tx:
            return retention.forget_audit_entries(tx, before)
