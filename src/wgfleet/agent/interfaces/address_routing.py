"""Routing of floating addresses: whether this machine's routing daemon announces what the agent puts on loopback.

Where routers lead an address to the machine that announces it, a machine whose daemon is down has it in vain: it gives
it up, says why, and the panel moves it. Owns that judgement of one interface; `kernel.routing_daemons` asks
the daemons.
"""

import asyncio
from collections.abc import Collection, Sequence

import structlog

from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.routing_daemons import RoutingDaemon

_EVERY_S = 0.5
_SOON_S = 2.0  # that the daemon has to announce an address which it sees at once
# Between two tries with a daemon that has sessions and announces nothing; doubled each time. The first comes soon: a
# busy machine takes longer than that too, and no other node may be left to have the address.
_AGAIN_S, _AGAIN_MOST_S = 2.0, 30.0
_BFD_EVERY_S = 10.0  # and it is said where it was down twice: it comes up a moment after its session
Speaking = Sequence[tuple[RoutingDaemon, list[str]]]  # daemons that have sessions, with those
_log = structlog.get_logger()


class RoutingWatch:
    """The check of one interface, whose addresses may be routed."""

    def __init__(self, reconciler: InterfaceReconciler, floating: FloatingAddresses) -> None:
        self._reconciler = reconciler
        self._floating = floating
        self._since: dict[str, float] = {}  # when an address was first seen here, in the loop's seconds
        self._silent_until = 0.0
        self._silent_about = ""
        self._again_s = _AGAIN_S
        self._unguarded: set[str] = set()
        self._look_at_bfd = 0.0

    async def run(self) -> None:
        """Check until cancelled."""
        name = self._reconciler.name
        while True:
            settings = self._reconciler.desired.settings
            routed = settings.floating is not None and settings.floating.routed and settings.enabled
            fault = await self._fault() if routed else None
            if fault != self._floating.places.fault(name):
                self._floating.places.set_fault(name, fault)
                said = "floating addresses are announced again" if fault is None else fault
                _log.warning("floating_address.routing", interface=name, fault=fault)
                try:
                    await self._reconciler.apply_settings_again(said)
                except KernelError as error:
                    self._reconciler.failed(str(error))
            await asyncio.sleep(_EVERY_S)

    async def _fault(self) -> str | None:
        """Say why nothing, or not all, is announced; None if all is well."""
        now = asyncio.get_running_loop().time()
        try:
            speaking = await self._speaking()
            if now >= self._look_at_bfd:
                self._look_at_bfd = now + _BFD_EVERY_S
                await self._guard(speaking)
            if now < self._silent_until:
                return self._silent_about
            present = self._floating.present(self._reconciler.name) or frozenset()
            self._since = {address: self._since.get(address, now) for address in present}
            silent = await nowhere(present, speaking)
            for address in sorted(silent):
                if now - self._since[address] >= _SOON_S:
                    self._silent_until, self._again_s = now + self._again_s, min(2 * self._again_s, _AGAIN_MOST_S)
                    self._silent_about = _not_announced(address, speaking)
                    return self._silent_about
            if present and not silent:
                self._again_s = _AGAIN_S
        except KernelError as error:
            return str(error)
        return None

    async def _guard(self, speaking: Speaking) -> None:
        """Note which sessions have been without BFD for a while."""
        before, self._unguarded = self._unguarded, set()
        for daemon, sessions in speaking:
            self._unguarded |= {f"{daemon.name}'s {session}" for session in await daemon.unguarded(sessions)}
        lasting = sorted(before & self._unguarded)
        why = f"no BFD session for {', '.join(lasting)}: routers notice late that this machine has died"
        self._floating.places.set_unguarded(self._reconciler.name, why if lasting else None)

    async def _speaking(self) -> Speaking:
        """Return the daemons with the sessions that they have; raise `KernelError`, saying why none has any."""
        speaking, faults = [], []
        for daemon in self._floating.places.daemons.present():
            try:
                sessions = await daemon.sessions()
            except KernelError as error:
                faults.append(str(error))
                continue
            if sessions:
                speaking.append((daemon, sessions))
            else:
                faults.append(f"{daemon.name} has no session with a router that is up; see: {daemon.see}")
        if not speaking:
            raise KernelError("; ".join(faults))
        return speaking


async def nowhere(addresses: Collection[str], speaking: Speaking) -> set[str]:
    """Return which addresses no daemon announces; raise `KernelError` if there are any and one did not answer."""
    left = set(addresses)
    failed: KernelError | None = None
    for daemon, sessions in speaking:
        if not left:
            break
        try:
            left -= await daemon.announced(left, sessions)
        except KernelError as error:
            failed = error
    if left and failed is not None:
        raise failed
    return left


def _not_announced(address: str, speaking: Speaking) -> str:
    found = [f"{daemon.name} announces {address} to no router: {daemon.to_announce}" for daemon, _ in speaking]
    return "; ".join(found)
