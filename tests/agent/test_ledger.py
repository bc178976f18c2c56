"""The ledger: which interfaces are ours, and what is past."""

from pathlib import Path

from wgfleet.agent.state.ledger import Ledger, Owned, Placed
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName

WG0, ONE, TWO = InterfaceName("wg0"), ConfigId("config-1"), ConfigId("config-2")


def reopened(path: Path) -> Ledger:
    ledger = Ledger(path)
    ledger.load()
    return ledger


def test_claims_and_removals_are_durable(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    ledger = reopened(path)
    ledger.add(WG0, ONE, "boot-1")
    assert reopened(path).owned() == {WG0: Owned(ONE, boot="boot-1")}
    ledger.bury(WG0, ONE, Generation(4))
    assert reopened(path).owned() == {WG0: Owned(ONE, deleting=True, boot="boot-1")}
    ledger.drop(WG0)
    assert reopened(path).owned() == {}
    assert reopened(path).tombstone(WG0, ONE) == 4
    assert reopened(path).tombstone(WG0, TWO) is None


def test_a_tombstone_never_goes_back(tmp_path: Path) -> None:
    ledger = reopened(tmp_path / "ledger.json")
    ledger.bury(WG0, ONE, Generation(7))
    ledger.bury(WG0, ONE, Generation(3))
    assert ledger.tombstone(WG0, ONE) == 7


def test_tombstones_are_bounded(tmp_path: Path) -> None:
    ledger = reopened(tmp_path / "ledger.json")
    for number in range(1100):
        ledger.bury(WG0, ConfigId(f"config-{number}"), Generation(1))
    assert ledger.tombstone(WG0, ConfigId("config-99")) is None
    assert ledger.tombstone(WG0, ConfigId("config-1099")) == 1


def test_a_damaged_ledger_is_no_licence(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text("{")
    ledger = reopened(tmp_path / "ledger.json")
    assert ledger.lost
    assert ledger.owned() == {}
    assert not reopened(tmp_path / "ledger.json").lost


def test_an_address_stays_noted_until_it_is_off_the_machine(tmp_path: Path) -> None:
    path, placed = tmp_path / "ledger.json", Placed("eth0", "boot-1")
    ledger = reopened(path)
    ledger.add(WG0, ONE, "boot-1")
    ledger.place(WG0, "192.0.2.1", placed)
    ledger.add(WG0, ONE, "boot-1")
    assert reopened(path).owned()[WG0].floating == {"192.0.2.1": placed}
    ledger.bury(WG0, ONE, Generation(1))
    assert reopened(path).owned()[WG0].floating == {"192.0.2.1": placed}
    ledger.displace(WG0, "192.0.2.1")
    ledger.displace(WG0, "192.0.2.1")
    assert ledger.owned()[WG0].floating == {}
    assert reopened(path).owned()[WG0].floating == {"192.0.2.1": placed}
    ledger.save()
    assert reopened(path).owned()[WG0].floating == {}
    assert not ledger.unsaved


def test_what_is_only_noted_is_durable_with_the_next_change(tmp_path: Path) -> None:
    path, placed = tmp_path / "ledger.json", Placed("eth0", "boot-1")
    ledger = reopened(path)
    ledger.add(WG0, ONE, "boot-1")
    ledger.note_placed(WG0, "192.0.2.1", placed)
    assert ledger.unsaved
    ledger.bury(WG0, ONE, Generation(1))
    assert not ledger.unsaved
    assert reopened(path).owned()[WG0].floating == {"192.0.2.1": placed}
