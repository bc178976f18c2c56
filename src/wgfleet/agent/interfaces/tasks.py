"""What goes on beside the panel's requests for one interface: scans, the watch over its process, and its fence.

Owns when to look. What is looked at and mended is the keeper's.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from wgfleet.agent.interfaces.isolation import Fence
from wgfleet.agent.interfaces.reconciler import Keeper
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.machine import Machine, link_exists

_SHARE = 0.02  # of a core, that scans may use
_MAX_INTERVAL_S = (
    10.0  # traffic that wireguard-go carries meanwhile counts as cost; endpoints must not get stale for it
)
_LINK_CHECK_S = 0.25  # between two cheap looks whether a link is still there
_CRASH_PAUSE_S = 1.0  # between two restarts of a wireguard-go that keeps dying
_log = structlog.get_logger()


class Attendant:
    """Tasks of one interface, from now until `stop`. `broken` hears of one that ended by an error."""

    def __init__(
        self,
        keeper: Keeper,
        machine: Machine,
        fence: Fence,
        broken: Callable[[BaseException], None],
        *,
        interval_s: float,
        repair: bool,
    ) -> None:
        self._keeper = keeper
        self._machine = machine
        self._broken = broken
        self._least_interval_s = interval_s
        self._repair = repair
        work = (self._scan(), self._guard_process(), fence.run())
        self._tasks = [asyncio.create_task(each) for each in work]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    @property
    def interval_s(self) -> float:
        """Time between two scans."""
        return max(self._least_interval_s, min(self._keeper.scan_cost_s / _SHARE, _MAX_INTERVAL_S))

    def stop(self) -> None:
        """End all tasks; the caller holds the keeper's lock, or the agent ends."""
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken(error)

    async def _scan(self) -> None:
        keeper = self._keeper
        while True:
            async with keeper.lock:
                try:
                    if await keeper.scan(repair=self._repair):
                        _log.warning("mended", interface=keeper.name, left=len(keeper.drift))
                except (KernelError, OSError) as error:
                    self._failed(error)
            await self._pause()

    async def _pause(self) -> None:
        """Sleep until the next scan is due, or the link vanishes."""
        keeper = self._keeper
        until = time.monotonic() + self.interval_s
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _LINK_CHECK_S))
            if keeper.interface_index is not None and not link_exists(keeper.name):
                _log.error("link vanished", interface=keeper.name)
                keeper.look_at_link()
                return

    async def _guard_process(self) -> None:
        """Notice at once when the interface's wireguard-go dies; the scan then brings everything back."""
        keeper = self._keeper
        while self._machine.backend == "userspace":
            said = await self._machine.crash(keeper.name)
            if said is None:
                await asyncio.sleep(_LINK_CHECK_S)
                continue
            _log.error("wireguard-go ended", interface=keeper.name, said=said)
            async with keeper.lock:
                try:
                    keeper.look_at_link()
                    await keeper.scan(repair=True)
                except (KernelError, OSError) as error:
                    self._failed(error)
            await asyncio.sleep(_CRASH_PAUSE_S)

    def _failed(self, error: KernelError | OSError) -> None:
        if self._keeper.summary != str(error):
            _log.error("interface failed", interface=self._keeper.name, reason=str(error))
        self._keeper.failed(str(error))
