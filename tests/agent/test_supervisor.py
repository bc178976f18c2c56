"""The loop over all interfaces, without a machine to change."""

import asyncio
from pathlib import Path

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


class BrokenIsolationWatch(IsolationWatch):
    """What a fault of the program looks like from outside."""

    async def run(self) -> None:
        raise LookupError("a fault")


def test_a_fault_in_what_looks_after_an_interface_ends_the_agent(tmp_path: Path) -> None:
    def make_watches(reconciler: InterfaceReconciler, floating: FloatingAddresses, _board: WatchBoard) -> Watches:
        witnesses = Witnesses(Prober())
        mute = MuteWatch(reconciler, witnesses, lambda: 0.0, lambda: False)
        broken = BrokenIsolationWatch(reconciler, floating, witnesses, lambda: 0.0, lambda: False)
        forwarding = ForwardingCheck(reconciler, Machine("kernel", tmp_path), Prober(), str)
        return broken, mute, RoutingWatch(reconciler, floating), forwarding

    async def work() -> None:
        (tmp_path / "desired").mkdir()
        journal = Journal(tmp_path / "desired")
        journal.write(WANTED)
        ledger = Ledger(tmp_path / "ledger.json")
        loop = InterfaceSupervisor(Machine("kernel", tmp_path), journal, ledger, make_watches, repair=False)
        await loop.start()
        async with asyncio.timeout(60):
            await loop.run()

    with pytest.raises(LookupError, match="a fault"):
        asyncio.run(work())
