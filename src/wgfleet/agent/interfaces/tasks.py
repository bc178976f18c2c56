"""Background tasks of one interface: periodic scan, wireguard-go supervision, isolation check.

Owns when to scan; the reconciler knows what to observe and repair.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from wgfleet.agent.interfaces.address_routing import RoutingWatch
from wgfleet.agent.interfaces.forwarding_check import ForwardingCheck
from wgfleet.agent.interfaces.isolation import IsolationWatch
from wgfleet.agent.interfaces.mute import MuteWatch
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.machine import Machine, link_exists
from wgfleet.agent.state.session_files import SessionFiles

_SHARE = 0.02  # of a core that scans may use
_MAX_INTERVAL_S = (
    10.0  # traffic that wireguard-go carries meanwhile counts as cost; endpoints must not get stale for it
)
_LINK_CHECK_S = 0.25  # between two cheap checks whether a link is still there
_CRASH_PAUSE_S = 1.0  # between two restarts of a wireguard-go that keeps dying
Watches = tuple[IsolationWatch, MuteWatch, RoutingWatch, ForwardingCheck]
_log = structlog.get_logger()


class InterfaceTasks:
    """Tasks of one interface, from now until `stop`. `broken` is called when one ends by an error."""

    def __init__(
        self,
        reconciler: InterfaceReconciler,
        machine: Machine,
        watches: Watches,
        broken: Callable[[BaseException], None],
        session_files: SessionFiles,
        *,
        interval_s: float,
        repair: bool,
    ) -> None:
        self._reconciler = reconciler
        self._machine = machine
        self._broken = broken
        self._session_files = session_files
        self._least_interval_s = interval_s
        self._repair = repair
        self._looked_at = time.monotonic()
        self._looked = asyncio.Event()
        isolation, mute, routing, forwarding = watches
        self.look_again = forwarding.look_again
        work = [
            self._scan(),
            self._guard_process(),
            isolation.run(),
            isolation.keep_renewing(),
            mute.run(),
            routing.run(),
            forwarding.run(),
            self._run_backbone(),
        ]
        if reconciler.trial is not None:
            work.append(reconciler.trial.run(reconciler.apply_settings_again))
        self._tasks = [asyncio.create_task(each) for each in work]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    @property
    def interval_s(self) -> float:
        """Time between two scans."""
        return max(self._least_interval_s, min(self._reconciler.scan_cost_s / _SHARE, _MAX_INTERVAL_S))

    @property
    def unseen_s(self) -> float:
        """Time since a scan ended, whatever its result."""
        return time.monotonic() - self._looked_at

    def stop(self) -> None:
        """End all tasks; the caller holds the reconciler's lock, or the agent ends."""
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken(error)

    async def _scan(self) -> None:
        reconciler = self._reconciler
        while True:
            async with reconciler.lock:
                try:
                    if await reconciler.scan(repair=self._repair):
                        _log.warning("interface.repaired", interface=reconciler.name, left=len(reconciler.drift))
                except (KernelError, OSError) as error:
                    self._failed(error)
            self._looked_at = time.monotonic()
            self._looked.set()
            self._keep_sessions()
            await self._pause()

    async def _run_backbone(self) -> None:
        """Tell other nodes nothing before it was read who is here: they would take it that nobody is any more."""
        await self._looked.wait()
        await self._reconciler.backbone.run()

    def _keep_sessions(self) -> None:
        """Have the agent's next run know which sessions were in use."""
        name = self._reconciler.name
        if self._session_files.is_due(name):
            sessions = self._reconciler.sessions.kept(time.monotonic())
            self._session_files.write(name, self._reconciler.config_id, sessions)

    async def _pause(self) -> None:
        """Sleep until the next scan is due, or the link vanishes."""
        reconciler = self._reconciler
        until = time.monotonic() + self.interval_s
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _LINK_CHECK_S))
            if reconciler.interface_index is not None and not link_exists(reconciler.name):
                _log.error("link.vanished", interface=reconciler.name)
                reconciler.refresh_link()
                return
            reconciler.still_up()

    async def _guard_process(self) -> None:
        """Notice at once when the interface's wireguard-go dies; a scan then restores everything."""
        reconciler = self._reconciler
        while self._machine.backend == "userspace":
            said = await self._machine.crash(reconciler.name)
            if said is None:
                await asyncio.sleep(_LINK_CHECK_S)
                continue
            _log.error("wireguard_go.ended", interface=reconciler.name, said=said)
            async with reconciler.lock:
                try:
                    reconciler.refresh_link()
                    await reconciler.scan(repair=True)
                except (KernelError, OSError) as error:
                    self._failed(error)
            await asyncio.sleep(_CRASH_PAUSE_S)

    def _failed(self, error: KernelError | OSError) -> None:
        if self._reconciler.summary != str(error):
            _log.error("interface.failed", interface=self._reconciler.name, reason=str(error))
        self._reconciler.failed(str(error))
