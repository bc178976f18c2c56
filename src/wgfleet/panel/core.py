"""The core of a panel as a process: reconcilers and health, apart from the API, so that no caller slows them down.

It decides while it has the lease. One that loses it ends on the spot, as if it were killed: whatever it was at goes on
from the rows, in the core that has the lease then.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import structlog

from wgfleet.panel.errors import PanelError
from wgfleet.panel.parts import Parts
from wgfleet.panel.reconcile.agents import panel_start
from wgfleet.panel.reconcile.core_reports import REPORT_S, ReportSender
from wgfleet.panel.reconcile.engine import garbage
from wgfleet.panel.reconcile.engine.threads import favor_the_loop, in_own_thread, in_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.reconcile.write_check import CHECK_S, WriteCheck
from wgfleet.panel.store.lease import ANSWER_S, LOOK_S

LEASE_LOST = 3
"""The exit code of a core that no longer decides."""

Beside = Callable[[AsyncExitStack], Awaitable[None]]
"""Starts what runs beside the core once it decides, and puts its end on the stack."""

log = structlog.get_logger()


class Core:
    """Runs until `stop` is called, or the lease is lost. `name` is shown to other panels."""

    def __init__(self, parts: Parts, name: str) -> None:
        self._parts = parts
        self._name = name
        self._outlook = Outlook(panel=name, decides=False)
        self._lease = parts.store.lease(name)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End soon, in order."""
        self._stop.set()

    async def run(self, beside: Beside) -> None:
        """Wait for the lease, then decide."""
        store, tasks = self._parts.store, self._outlook.tasks
        store.share(self._parts.label(self._name))
        sender = ReportSender(store, self._outlook, self._parts.publisher.metrics.samples)
        tasks.start("reports", sender.run, every_s=REPORT_S)
        try:
            if not await self._take():
                return
            store.write_only_while(self._lease.valid)
            async with AsyncExitStack() as stack:
                parts = self._parts
                days = parts.settings.certificates.panel_days
                start = await in_thread(panel_start.begin, store, parts.vault, parts.authorities, days)
                self._outlook.superseded = start.superseded
                supervisor = Supervisor(
                    store, parts.vault, parts.authorities, parts.publisher, parts.settings, self._outlook, start
                )
                stack.push_async_callback(supervisor.close)
                supervisor.start()
                tasks.start("garbage", garbage.keep_tidy, every_s=garbage.EVERY_S)
                tasks.start("write_check", WriteCheck(store, self._outlook).run, every_s=CHECK_S)
                self._outlook.decides = True
                sender.send()
                await beside(stack)
                await self._confirm()
        finally:
            await tasks.close()
            self._lease.release()

    async def _take(self) -> bool:
        """Wait for the lease; False: it was to stop before."""
        said: str | None = ""
        while not self._stop.is_set():
            try:
                if await in_own_thread(self._lease.take):
                    log.info("core.decides", panel=self._outlook.panel)
                    return True
            except PanelError as error:
                log.warning("lease.not_asked", error=error.detail)
            if self._lease.holder != said:
                said = self._lease.holder
                log.info("core.waits", panel=self._outlook.panel, for_the_end_of=said)
            await self._stopped(LOOK_S)
        return False

    async def _confirm(self) -> None:
        """Keep the lease until the core is to stop; end the process where it is lost."""
        if not self._lease.can_be_lost:
            # An answer that is late, since the machine is busy, would mean nothing.
            await self._stop.wait()
        while not self._stop.is_set():
            try:
                await asyncio.wait_for(in_own_thread(self._lease.confirm), ANSWER_S)
            except (PanelError, TimeoutError) as error:
                log.error("lease.lost", error=str(error) or "no answer in time")  # noqa: TRY400 - not a bug
                os._exit(LEASE_LOST)
            await self._stopped(LOOK_S)

    async def _stopped(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await self._stop.wait()
        except TimeoutError:
            return


async def run_core(parts: Parts, name: str, beside: Beside) -> None:
    """Run a core in this process until it gets SIGTERM or SIGINT."""
    favor_the_loop()
    garbage.collect_little()
    core = Core(parts, name)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, core.stop)
    await core.run(beside)
