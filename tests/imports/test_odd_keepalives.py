"""Keepalives that cannot be one are left out, and said by the name of the peer."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from wgfleet.imports import opnsense, server_folders, wg_easy, wg_portal, wgdashboard
from wgfleet.imports.fleet import ImportedFleet
from wgfleet.imports.numbers import keepalive_of

ODD = ("70000", "-1", "abc", "25.5", "9" * 30)


@pytest.fixture
def keys() -> Keys:
    return Keys()


def changed(database: str, statement: str) -> Callable[[Path, str], None]:
    def change(folder: Path, value: str) -> None:
        with closing(sqlite3.connect(folder / database)) as connection:
            connection.execute(statement, (value,))
            connection.commit()

    return change


def in_xml(folder: Path, value: str) -> None:
    place = folder / "config.xml"
    place.write_text(place.read_text().replace("<keepalive>25<", f"<keepalive>{value}<"))


Sample = Callable[[Path, Keys], None]
SOURCES: dict[str, tuple[Sample, Callable[[Path, str], None], Callable[[Path], ImportedFleet], str]] = {
    "wgdashboard": (
        samples.wgdashboard,
        changed("wgdashboard.db", "UPDATE office SET keepalive = ? WHERE name <> ''"),
        lambda folder: wgdashboard.read(folder, folder),
        "Anna's laptop",
    ),
    "wg-easy": (
        samples.wg_easy_15,
        changed("wg-easy.db", "UPDATE clients_table SET persistent_keepalive = ?"),
        wg_easy.read,
        "tablet",
    ),
    "wg-portal": (
        samples.wg_portal,
        changed("sqlite.db", "UPDATE peers SET persistent_keep_alive_v = ?"),
        wg_portal.read,
        "Carol phone",
    ),
    "opnsense": (samples.opnsense, in_xml, opnsense.read, "gina"),
}


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("source", SOURCES)
def test_an_odd_keepalive_is_said_by_the_peers_name(tmp_path: Path, keys: Keys, source: str, value: str) -> None:
    sample, change, read, name = SOURCES[source]
    sample(tmp_path, keys)
    change(tmp_path, value)
    fleet = read(tmp_path)
    (said,) = [each for each in fleet.warnings if "keepalive" in each]
    assert name in said
    assert value[:20] in said
    assert fleet.interfaces[0].peers[0].keepalive is None


@pytest.mark.parametrize("value", ODD)
def test_so_it_is_in_the_file_of_a_user(tmp_path: Path, keys: Keys, value: str) -> None:
    (tmp_path / "wg0.conf").write_text(
        f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51820\nAddress = 10.8.0.1/24\n"
        f"[Peer]\nPublicKey = {keys.public('anna')}\nAllowedIPs = 10.8.0.2/32\n"
    )
    (tmp_path / "wg0-client-anna_phone.conf").write_text(
        f"[Interface]\nPrivateKey = {keys.private('anna')}\nAddress = 10.8.0.2/24\n[Peer]\n"
        f"PublicKey = {keys.public('server')}\nAllowedIPs = 0.0.0.0/0\nEndpoint = vpn.example.org:443\n"
        f"PersistentKeepalive = {value}\n"
    )
    fleet = server_folders.read(tmp_path)
    (said,) = [each for each in fleet.warnings if "keepalive" in each]
    assert said.startswith("anna_phone: ")
    assert fleet.interfaces[0].peers[0].keepalive == 0


@pytest.mark.parametrize(
    ("value", "found"), [(None, None), ("", None), ("off", 0), ("Off", 0), (0, 0), ("25", 25), (65535, 65535)]
)
def test_others_are_what_they_are(value: object, found: int | None) -> None:
    said: list[str] = []
    assert keepalive_of(value, "anna", said) == found
    assert said == []
