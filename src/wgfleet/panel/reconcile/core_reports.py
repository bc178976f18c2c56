"""Reports of cores to the processes that serve the API: sent every second, believed for a few."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import msgspec
import structlog

from wgfleet.panel import clock
from wgfleet.panel.counted import Counted
from wgfleet.panel.reconcile.engine.tasks import came_round
from wgfleet.panel.reconcile.outlook import CoreReport, Outlook
from wgfleet.panel.store import REPORT_BYTES, Store
from wgfleet.protocol.reasons import plain

REPORT_S = 1.0
LATE_S = 3 * REPORT_S + 1.0  # three reports in a row, and a little for a machine that is busy
FIRST_S = 2 * REPORT_S

log = structlog.get_logger()


class ReportSender:
    """Tells all other processes how this core is doing; `run` is a background task. `dns`: what DNS has counted."""

    def __init__(self, store: Store, outlook: Outlook, dns: Callable[[], Sequence[Counted]]) -> None:
        self._store = store
        self._outlook = outlook
        self._dns = dns

    async def run(self) -> None:
        """Send a report now, and again and again."""
        while True:
            came_round()
            self.send()
            await asyncio.sleep(REPORT_S)

    def send(self) -> None:
        """Send a report now; without the counts of DNS where it would be too long with them."""
        for dns in (self._dns(), ()):
            text = msgspec.json.encode(self._outlook.report(dns), enc_hook=plain)
            if len(text) <= REPORT_BYTES:
                self._store.report(text)
                return
        log.error("report.too_long", bytes=len(text), most=REPORT_BYTES)


class HeardReports:
    """The latest report of each core that is alive, as heard by this process. Safe to read from any thread."""

    def __init__(self, store: Store) -> None:
        self._lock = threading.Lock()
        self._heard: dict[str, tuple[float, CoreReport]] = {}
        self._any = threading.Event()
        store.hear_reports(self._hear)

    def now(self) -> Sequence[CoreReport]:
        """Return the reports that are not too old to be believed, that of the deciding core first."""
        limit = clock.monotonic() - LATE_S
        with self._lock:
            self._heard = {sender: heard for sender, heard in self._heard.items() if heard[0] >= limit}
            latest = sorted(self._heard.values(), key=lambda heard: heard[0], reverse=True)
        return sorted((report for _, report in latest), key=lambda report: not report.decides)

    async def first(self) -> None:
        """Wait for a report, but not for long: the core may be gone."""
        await asyncio.to_thread(self._any.wait, FIRST_S)

    def _hear(self, sender: str, text: bytes) -> None:
        try:
            report = msgspec.json.decode(text, type=CoreReport)
        except ValueError as error:  # of a later version
            log.warning("report.not_understood", error=str(error))
            return
        with self._lock:
            self._heard[sender] = (clock.monotonic(), report)
        self._any.set()
