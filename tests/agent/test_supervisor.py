"""The loop over all interfaces, without a machine to change."""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from wgfleet.agent.interfaces.address_routing import RoutingWatch
from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.forwarding_check import ForwardingCheck
from wgfleet.agent.interfaces.isolation import IsolationWatch
from wgfleet.agent.interfaces.mute import MuteWatch
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.supervisor import InterfaceSupervisor
from wgfleet.agent.interfaces.tasks import Watches
from wgfleet.agent.interfaces.watch_board import WatchBoard
from wgfleet.agent.interfaces.witnesses import Witnesses
from wgfleet.agent.kernel.machine import Machine
from wgfleet.agent.state.journal import Journal
from wgfleet.agent.state.ledger import Ledger
from wgfleet.probing.prober import Prober
from wgfleet.protocol.desired import DesiredInterface, InterfaceSettings
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PrivateKey

WANTED = DesiredInterface(
    generation=Generation(1),
    settings=InterfaceSettings(InterfaceName("wgfleet-none"), ConfigId("config"), PrivateKey("A" * 41 + "EA="), 51820),
    peers={},
)


def looks_after(root: Path, isolation: type[IsolationWatch]) -> InterfaceSupervisor:
    """Return a supervisor of what is wanted, which changes nothing by itself."""

    def make_watches(reconciler: InterfaceReconciler, floating: FloatingAddresses, _board: WatchBoard) -> Watches:
        witnesses = Witnesses(Prober())
        mute = MuteWatch(reconciler, witnesses, lambda: 0.0, lambda: False)
        watch = isolation(reconciler, floating, witnesses, lambda: 0.0, lambda: False)
        forwarding = ForwardingCheck(reconciler, Machine("kernel", root), Prober(), str)
        return watch, mute, RoutingWatch(reconciler, floating), forwarding

    (root / "desired").mkdir()
    journal = Journal(root / "desired")
    journal.write(WANTED)
    return InterfaceSupervisor(
        Machine("kernel", root), journal, Ledger(root / "ledger.json"), make_watches, repair=False
    )


class BrokenIsolationWatch(IsolationWatch):
    """What a fault of the program looks like from outside."""

    async def run(self) -> None:
        raise LookupError("a fault")


def test_a_fault_in_what_looks_after_an_interface_ends_the_agent(tmp_path: Path) -> None:
    async def work() -> None:
        loop = looks_after(tmp_path, BrokenIsolationWatch)
        await loop.start()
        async with asyncio.timeout(60):
            await loop.run()

    with pytest.raises(LookupError, match="a fault"):
        asyncio.run(work())


def test_a_push_confirms_no_address_to_a_scan_that_works_towards_what_was_wanted_before(tmp_path: Path) -> None:
    name = WANTED.settings.name

    async def work() -> None:
        loop = looks_after(tmp_path, IsolationWatch)
        await loop.start()
        await loop.floating.give_up(name, "its time is over")
        push = msgspec.structs.replace(WANTED, generation=Generation(2))
        async with loop.reconcilers[name].lock:  # as a scan has it
            pushed = asyncio.create_task(loop.push(name, push, time.monotonic()))
            for _ in range(1000):
                await asyncio.sleep(0.01)
                if Journal(tmp_path / "desired").load()[name].generation == push.generation:
                    break
            await asyncio.sleep(0.05)  # it is stored, and all that could be done without the lock is done
            assert loop.floating.waits_for_panel(name)
            pushed.cancel()
        await asyncio.gather(pushed, return_exceptions=True)

    asyncio.run(asyncio.wait_for(work(), 60))
