"""Which floating addresses the agent says the machine has, without a machine to change."""

import asyncio
from pathlib import Path

import pytest

from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses, boot_id
from wgfleet.agent.kernel import host_addresses
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.host_addresses import Location
from wgfleet.agent.state.ledger import Ledger, Placed
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PrivateKey

WG0 = InterfaceName("wg0")
SETTINGS = InterfaceSettings(WG0, ConfigId("config"), PrivateKey("A" * 43 + "="), 51820)
ADDRESS = "203.0.113.1"


def test_what_the_machine_has_is_not_known_before_somebody_looked(tmp_path: Path) -> None:
    floating = FloatingAddresses(Ledger(tmp_path / "ledger.json"))
    assert floating.present(WG0) is None
    asyncio.run(floating.observe(SETTINGS))
    assert floating.present(WG0) == frozenset()


def test_an_address_that_cannot_be_removed_is_still_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.add(WG0, ConfigId("config"), boot_id())
    ledger.place(WG0, ADDRESS, Placed("eth0", boot_id()))
    works = False

    async def locate(_addresses: object) -> dict[str, list[Location]]:
        return {ADDRESS: [Location("eth0", alone=True)]}

    async def remove(_address: str, _link: str) -> None:
        if not works:
            raise KernelError("the kernel refuses")

    monkeypatch.setattr(host_addresses, "locate", locate)
    monkeypatch.setattr(host_addresses, "remove", remove)
    floating = FloatingAddresses(ledger)
    seen = asyncio.run(floating.observe(SETTINGS))
    assert seen.held == floating.present(WG0) == frozenset({ADDRESS})
    with pytest.raises(KernelError):
        asyncio.run(floating.remove(WG0, seen.held))
    assert floating.present(WG0) == frozenset({ADDRESS})
    works = True
    asyncio.run(floating.remove(WG0, seen.held))
    assert floating.present(WG0) == frozenset()
