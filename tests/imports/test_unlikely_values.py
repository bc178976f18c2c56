"""What no server should keep, and some do: keys that do not belong together, sums that are no bytes."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from wgfleet.imports import sources
from wgfleet.imports.fleet import ImportedPeer


@pytest.fixture
def keys() -> Keys:
    return Keys()


def statement(place: Path, text: str, *values: object) -> None:
    with closing(sqlite3.connect(place, isolation_level=None)) as connection:
        connection.execute(text, values)


def in_json(place: Path, change: Callable[[dict[str, str]], None], *path: str) -> None:
    kept = json.loads(place.read_text())
    found = kept
    for step in path:
        found = found[step]
    change(found)
    place.write_text(json.dumps(kept))


def dashboard(folder: Path, keys: Keys) -> str:
    samples.wgdashboard(folder, keys)
    statement(folder / "wgdashboard.db", "UPDATE office SET private_key = ?", keys.private("other"))
    return "anna"


def easy_14(folder: Path, keys: Keys) -> str:
    samples.wg_easy_14(folder, keys)
    changed = {"privateKey": keys.private("other")}
    in_json(folder / "wg0.json", lambda client: client.update(changed), "clients", "5b0e")
    return "phone"


def easy_15(folder: Path, keys: Keys) -> str:
    samples.wg_easy_15(folder, keys)
    statement(folder / "wg-easy.db", "UPDATE clients_table SET private_key = ?", keys.private("other"))
    return "tablet"


def ui(folder: Path, keys: Keys) -> str:
    samples.wireguard_ui(folder, keys)
    in_json(folder / "db/clients/a.json", lambda client: client.update(private_key=keys.private("other")))
    return "hugo"


def portal(folder: Path, keys: Keys) -> str:
    samples.wg_portal(folder, keys)
    statement(folder / "sqlite.db", "UPDATE peers SET private_key = ?", keys.private("other"))
    return "carol"


SOURCES = {
    "wgdashboard": ("wgdashboard", dashboard, ""),
    "wg-easy 14": ("wg-easy", easy_14, ""),
    "wg-easy 15": ("wg-easy", easy_15, ""),
    "wireguard-ui": ("wireguard-ui", ui, ""),
    "wg-portal": ("wg-portal", portal, "sqlite.db"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_private_key_of_another_is_left_out_and_said_and_the_device_stays(
    tmp_path: Path, keys: Keys, name: str
) -> None:
    source, make, file = SOURCES[name]
    peer = make(tmp_path, keys)
    fleet = sources.read(source, tmp_path / file, files=tmp_path)
    found = {each.public_key: each for interface in fleet.interfaces for each in interface.peers}
    assert keys.public("other") not in found
    assert found[keys.public(peer)].private_key is None
    assert any("its private key does not belong to its public key" in each for each in fleet.warnings)
    assert keys.private("other") not in str(fleet)


def of_dashboard(folder: Path, keys: Keys, values: dict[str, object]) -> tuple[ImportedPeer, tuple[str, ...]]:
    samples.wgdashboard(folder, keys)
    for column, value in values.items():
        statement(folder / "wgdashboard.db", f"UPDATE office SET {column} = ?", value)  # noqa: S608 - our own names
    fleet = sources.read("wgdashboard", folder, files=folder)
    return next(each for each in fleet.interfaces[0].peers if each.public_key == keys.public("anna")), fleet.warnings


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"cumu_receive": 1e9, "total_receive": 0}, "receive '1.073741824e+18' is no number of bytes up to"),
        ({"cumu_receive": -3}, "receive '-2952790016.0' is no number of bytes"),
        ({"cumu_receive": "nan"}, "receive 'nan' is no number of bytes"),
        ({"cumu_receive": "much"}, "receive '0.25 and much' is no number of bytes"),
        ({"total_receive": float("inf")}, "receive 'inf' is no number of bytes"),
    ],
)
def test_sums_that_are_no_bytes_are_said_and_all_else_of_the_peer_stays(
    tmp_path: Path, keys: Keys, values: dict[str, object], said: str
) -> None:
    anna, warnings = of_dashboard(tmp_path, keys, values)
    assert (anna.name, anna.received, anna.sent) == ("Anna's laptop", None, round(2.5 * 1024**3))
    assert any(said in each for each in warnings), warnings


def test_counters_without_a_value_count_as_nothing(tmp_path: Path, keys: Keys) -> None:
    anna, _ = of_dashboard(tmp_path, keys, {"cumu_receive": None, "total_sent": ""})
    assert (anna.received, anna.sent) == (1024**3 // 4, 2 * 1024**3)


@pytest.mark.parametrize("count", [2**53 + 1, 2**63 - 1, 1.5e19, -1, "many"])
def test_counts_of_wg_portal_that_are_no_bytes_are_said(tmp_path: Path, keys: Keys, count: object) -> None:
    samples.wg_portal(tmp_path, keys)
    statement(tmp_path / "sqlite.db", "UPDATE peer_statuses SET received = ?", count)
    fleet = sources.read("wg-portal", tmp_path / "sqlite.db")
    (carol,) = fleet.interfaces[0].peers
    assert (carol.received, carol.sent) == (None, 456)
    assert any("received" in each and "is no number of bytes" in each for each in fleet.warnings)
