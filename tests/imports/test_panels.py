"""Databases, JSON and XML of other panels, each from a sample of our own."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from wgfleet.imports import opnsense, wg_easy, wg_portal, wgdashboard, wireguard_ui
from wgfleet.imports.fleet import ImportedFleet, ImportedJob, ImportedTag, UnreadableError
from wgfleet.imports.sources import SOURCES
from wgfleet.imports.wgdashboard import GIB


@pytest.fixture
def keys() -> Keys:
    return Keys()


def test_wgdashboard(tmp_path: Path, keys: Keys) -> None:
    samples.wgdashboard(tmp_path, keys)
    fleet = wgdashboard.read(tmp_path, tmp_path)
    (interface,) = fleet.interfaces
    assert (interface.name, interface.listen_port, interface.endpoint) == ("office", 51833, "vpn.example.org:443")
    assert fleet.tags == (ImportedTag(name="sales", color="#339"),)
    anna, bob = interface.peers
    assert (anna.name, anna.private_key, anna.enabled) == ("Anna's laptop", keys.private("anna"), True)
    assert (anna.addresses, anna.client_allowed_ips, anna.dns) == (("10.9.0.7",), ("10.0.0.0/8",), ("9.9.9.9",))
    assert (anna.mtu, anna.keepalive, anna.notes, anna.tags) == (1420, 21, "floor 2", ("sales",))
    assert (anna.received, anna.sent) == (round(1.25 * GIB), round(2.5 * GIB))
    total, date, other = anna.jobs
    assert total == ImportedJob(field="total_data", operator="lgt", value=str(20 * GIB), action="restrict")
    at = datetime(2027, 3, 31, 18, 30).astimezone()  # of this machine, as there
    assert (date.field, datetime.fromisoformat(date.value)) == ("date", at)
    assert other.value == "soon"
    assert any("zone" in warning for warning in fleet.warnings)
    assert (bob.name, bob.enabled, bob.addresses, bob.private_key, bob.mtu) == ("", False, ("10.9.0.8",), None, None)
    assert any("template" in warning for warning in fleet.warnings)
    assert any("MASQUERADE" in hook for hook in interface.hooks)


def test_wg_easy_14_with_its_environment(tmp_path: Path, keys: Keys) -> None:
    samples.wg_easy_14(tmp_path, keys)
    fleet = wg_easy.read(tmp_path, tmp_path / "compose.yml")
    (interface,) = fleet.interfaces
    assert (interface.endpoint, interface.listen_port, interface.mtu) == ("vpn.example.org:443", 51820, 1380)
    assert interface.addresses == ("10.8.0.1/24",)
    phone, old = interface.peers
    assert (phone.enabled, phone.preshared_key, phone.addresses) == (False, keys.psk("phone"), ("10.8.0.2",))
    assert phone.created_at == 1709287200.0
    assert (old.private_key, old.public_key) == (None, keys.public("old"))
    without = wg_easy.read(tmp_path)
    assert without.interfaces[0].endpoint is None
    assert any("environment" in warning for warning in without.warnings)


def test_wg_easy_15(tmp_path: Path, keys: Keys) -> None:
    samples.wg_easy_15(tmp_path, keys)
    fleet = wg_easy.read(tmp_path)
    (interface,) = fleet.interfaces
    assert interface.addresses == ("10.8.0.1/24", "fdcc:ad94:bacf:61a4::cafe:1/112")
    assert (interface.endpoint, interface.dns) == ("vpn.example.org:51820", ("1.1.1.1",))
    assert interface.hooks == ("post_up: iptables -A FORWARD -i wg0 -j ACCEPT",)
    (tablet,) = interface.peers
    assert tablet.addresses == ("10.8.0.5", "fdcc:ad94:bacf:61a4::cafe:5")
    assert (tablet.networks, tablet.client_allowed_ips, tablet.dns) == (("192.168.7.0/24",), None, ("9.9.9.9",))
    assert (tablet.enabled, tablet.owner, tablet.keepalive) == (False, "gerda", 25)
    assert tablet.expires_at == 1801353600.0
    assert any("post_up" in warning for warning in fleet.warnings)


def test_wireguard_ui(tmp_path: Path, keys: Keys) -> None:
    samples.wireguard_ui(tmp_path, keys)
    fleet = wireguard_ui.read(tmp_path)
    (interface,) = fleet.interfaces
    assert (interface.name, interface.endpoint, interface.mtu) == ("wg1", "[2001:db8::7]:51820", 1450)
    (hugo,) = interface.peers
    assert (hugo.name, hugo.networks, hugo.owner) == ("Hugo phone", ("192.168.9.0/24",), "hugo@example.org")
    assert any("b.json" in warning for warning in fleet.warnings)


def test_wg_portal(tmp_path: Path, keys: Keys) -> None:
    samples.wg_portal(tmp_path, keys)
    fleet = wg_portal.read(tmp_path)
    (interface,) = fleet.interfaces
    assert (interface.name, interface.dns) == ("wg0", ("10.11.12.1", "corp.example"))
    (carol,) = interface.peers
    assert (carol.name, carol.private_key, carol.public_key) == ("Carol phone", None, keys.public("carol"))
    assert (carol.addresses, carol.networks) == (("10.11.12.5",), ("192.168.50.0/24",))
    assert (carol.received, carol.sent, carol.keepalive) == (123, 456, 16)
    for word in ("encrypted", "wg9", "bad"):
        assert any(word in warning for warning in fleet.warnings)


def test_opnsense_and_pfsense(tmp_path: Path, keys: Keys) -> None:
    samples.opnsense(tmp_path, keys)
    fleet = opnsense.read(tmp_path / "config.xml")
    (interface,) = fleet.interfaces
    assert [(each.name, each.enabled) for each in interface.peers] == [("gina", True), ("otto", False)]
    assert interface.peers[0].networks == ("192.168.1.0/24",)
    assert any("192.0.2.9" in warning for warning in fleet.warnings)
    samples.pfsense(tmp_path, keys)
    (interface,) = opnsense.read(tmp_path / "config.xml").interfaces
    (ivan,) = interface.peers
    assert (ivan.name, ivan.addresses, ivan.networks) == ("ivan", ("10.21.0.2",), ("192.168.4.0/24",))
    assert ivan.preshared_key == keys.psk("ivan")


def test_a_document_with_declarations_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "config.xml"
    place.write_text('<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>')
    with pytest.raises(UnreadableError, match="declarations"):
        opnsense.read(place)


GARBAGE = [b"", b"\x00" * 64, b"{}", b"[]", b"SQLite format 3\x00" + b"\x01" * 200, b"<a/>", "ü".encode("utf-16")]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_such_file_is_refused_with_words(tmp_path: Path, source: str, content: bytes) -> None:
    read: Callable[[Path], ImportedFleet] = SOURCES[source]
    for name in ("wg0.conf", "wg0.json", "wg-easy.db", "wgdashboard.db", "sqlite.db", "config.xml"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableError):
            read(tmp_path / name)
    with pytest.raises(UnreadableError):
        read(tmp_path / "nowhere")


ENTRIES = {
    "10.0.0.0/24": ["allow 10.0.0.0/24"],
    "10.0.0.1:443/tcp": ["allow tcp/443 10.0.0.1"],
    "10.0.0.0/24:53": ["allow tcp/53 10.0.0.0/24", "allow udp/53 10.0.0.0/24"],
    "[2001:db8::1]:53/udp": ["allow udp/53 2001:db8::1"],
    "2001:db8::/32": ["allow 2001:db8::/32"],
    "[2001:db8::1]": ["allow 2001:db8::1"],
}


def test_the_firewall_of_wg_easy_becomes_rules(tmp_path: Path, keys: Keys) -> None:
    samples.wg_easy_15(tmp_path, keys, (*ENTRIES, "intranet.example.org", "10.0.0.0/24"))
    fleet = wg_easy.read(tmp_path)
    (tablet,) = fleet.interfaces[0].peers
    assert tablet.destinations == ("allow node", *(rule for rules in ENTRIES.values() for rule in rules))
    assert any("intranet.example.org" in warning for warning in fleet.warnings)


def test_a_firewall_of_wg_easy_without_a_list_is_what_the_file_says(tmp_path: Path, keys: Keys) -> None:
    samples.wg_easy_15(tmp_path, keys, ())
    (tablet,) = wg_easy.read(tmp_path).interfaces[0].peers
    assert tablet.destinations is None, "all, by the interface's defaults"
