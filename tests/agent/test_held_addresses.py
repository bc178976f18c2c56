"""Which floating addresses the agent says the machine has, without a machine to change."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Self

import pytest
from msgspec.structs import replace

from wgfleet.agent.interfaces.address_record import boot_id
from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.kernel import host_addresses
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.host_addresses import Location
from wgfleet.agent.state import ledger as ledger_file
from wgfleet.agent.state.files import write_atomic
from wgfleet.agent.state.ledger import Ledger, Placed
from wgfleet.protocol.desired import FloatingSettings, InterfaceSettings
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


def test_a_kernel_is_not_asked_to_keep_an_address_whose_time_ran_out_on_the_way_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would add the address again, and another node may have it by now."""
    asked = []

    class HeldUp:
        """A routing socket that opens as slowly as in a process that is stopped meanwhile."""

        async def __aenter__(self) -> Self:
            await asyncio.sleep(0.05)
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def addr(self, command: str, **_: object) -> None:
            asked.append(command)

    monkeypatch.setattr(host_addresses, "AsyncIPRoute", HeldUp)
    assert not asyncio.run(host_addresses.put(ADDRESS, "lo", 2, time.monotonic() + 0.02))
    assert not asked
    assert asyncio.run(host_addresses.put(ADDRESS, "lo", 2, time.monotonic() + 60))
    assert asked == ["replace"]


def test_an_address_goes_from_node_to_node_while_the_disk_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clients have no node meanwhile, and an agent that waits for the disk renews nothing."""
    path, on_machine, works = tmp_path / "ledger.json", set[str](), threading.Event()
    ledger = Ledger(path)
    ledger.add(WG0, ConfigId("config"), boot_id())

    async def locate(_addresses: object) -> dict[str, list[Location]]:
        return {each: [Location("lo", alone=True)] for each in on_machine}

    async def put(address: str, _link: str, _valid_s: int | None, _not_after: float) -> bool:
        on_machine.add(address)
        return True

    async def remove(address: str, _link: str) -> None:
        on_machine.discard(address)

    def write(*given: object) -> None:
        assert works.wait(60)
        write_atomic(*given)  # type: ignore[arg-type]

    async def link_towards(_address: str) -> str:
        return "lo"

    for name, replaced in (("locate", locate), ("put", put), ("remove", remove), ("link_towards", link_towards)):
        monkeypatch.setattr(host_addresses, name, replaced)
    monkeypatch.setattr(ledger_file, "write_atomic", write)
    wanted = FloatingSettings((ADDRESS,), ("192.0.2.2:51820",), SETTINGS.private_key, give_up_after_s=60.0)
    having = replace(SETTINGS, floating=wanted)

    async def scene() -> None:
        floating = FloatingAddresses(ledger)
        await floating.observe(having)
        floating.confirm(WG0, time.monotonic())
        await floating.take(WG0, [ADDRESS])
        assert on_machine == floating.held(WG0) == {ADDRESS}
        assert await floating.renew(WG0, 60.0)
        await floating.remove(WG0, [ADDRESS])
        assert on_machine == floating.held(WG0) == set()
        await floating.take(WG0, [ADDRESS])
        works.set()
        floating.close()

    asyncio.run(scene())
    kept = Ledger(path)
    kept.load()
    assert kept.owned()[WG0].floating == {ADDRESS: Placed("lo", boot_id())}
