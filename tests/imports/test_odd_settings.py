"""What an interface as a whole has and cannot be taken over is said, with the setting and its value, of each source."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from wgfleet.imports import sources
from wgfleet.imports.fleet import ImportedFleet

NAMES = {"port": "listen_port", "mtu": "mtu", "keepalive": "keepalive"}


@pytest.fixture
def keys() -> Keys:
    return Keys()


def in_rows(database: str, table: str, **columns: str) -> Callable[[Path, str, str], None]:
    def change(folder: Path, setting: str, value: str) -> None:
        with closing(sqlite3.connect(folder / database)) as connection:
            with suppress(sqlite3.OperationalError):
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {columns[setting]}")
            connection.execute(f"UPDATE {table} SET {columns[setting]} = ?", (value,))  # noqa: S608 - our own names
            connection.commit()

    return change


def in_json(folder: Path, setting: str, value: str) -> None:
    name = {"port": "listen_port", "mtu": "mtu", "keepalive": "persistent_keepalive"}[setting]
    file = "interfaces.json" if setting == "port" else "global_settings.json"
    place = next(folder.rglob(file))
    place.write_text(json.dumps({**json.loads(place.read_text()), name: value}))


def in_compose(folder: Path, setting: str, value: str) -> None:
    name = {"port": "WG_PORT", "mtu": "WG_MTU", "keepalive": "WG_PERSISTENT_KEEPALIVE"}[setting]
    place = folder / "compose.yml"
    kept = [line for line in place.read_text().splitlines() if name not in line]
    place.write_text("\n".join([*kept, f"      {name}: '{value}'"]) + "\n")


def in_file(folder: Path, setting: str, value: str) -> None:
    name = {"port": "ListenPort", "mtu": "MTU"}[setting]
    place = next(folder.glob("*.conf"))
    lines = [line for line in place.read_text().splitlines() if not line.startswith(f"{name} =")]
    place.write_text("\n".join(lines).replace("[Interface]", f"[Interface]\n{name} = {value}", 1) + "\n")


def in_set_up(folder: Path, _setting: str, value: str) -> None:
    (folder / "setupVars.conf").write_text(f"pivpnHOST=vpn.example.org\npivpnPERSISTENTKEEPALIVE={value}\n")


def in_xml(folder: Path, setting: str, value: str) -> None:
    place = folder / "config.xml"
    text = place.read_text()
    at = text.index("<servers>")
    begin = text.index(f"<{setting}>", at) if f"<{setting}>" in text[at:] else -1
    if begin < 0:
        text = text.replace("<privkey>", f"<{setting}>{value}</{setting}><privkey>", 1)
    else:
        end = text.index(f"</{setting}>", begin)
        text = f"{text[:begin]}<{setting}>{value}{text[end:]}"
    place.write_text(text)


def wg_quick(folder: Path, keys: Keys) -> None:
    (folder / "wg0.conf").write_text(
        f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51820\nAddress = 10.8.0.1/24\n"
        f"[Peer]\nPublicKey = {keys.public('anna')}\nAllowedIPs = 10.8.0.2/32\n"
    )


Sample = Callable[[Path, Keys], None]
Change = Callable[[Path, str, str], None]
PORTAL = in_rows("sqlite.db", "interfaces", port="listen_port", mtu="mtu", keepalive="peer_def_persistent_keepalive")
CASES: list[tuple[str, Sample, Change, str]] = [
    *(("wg-quick", wg_quick, in_file, each) for each in ("port", "mtu")),
    ("pivpn", wg_quick, in_set_up, "keepalive"),
    *(("wg-easy", samples.wg_easy_14, in_compose, each) for each in NAMES),
    *(("wg-easy", samples.wg_easy_15, in_rows("wg-easy.db", "interfaces_table", port="port", mtu="mtu"), each)
      for each in ("port", "mtu")),
    ("wg-easy", samples.wg_easy_15,
     in_rows("wg-easy.db", "user_configs_table", keepalive="default_persistent_keepalive"), "keepalive"),
    *(("wireguard-ui", samples.wireguard_ui, in_json, each) for each in NAMES),
    *(("wg-portal", samples.wg_portal, PORTAL, each) for each in NAMES),
    *(("opnsense", samples.opnsense, in_xml, each) for each in ("port", "mtu")),
]  # fmt: skip


def read(source: str, folder: Path) -> ImportedFleet:
    compose, place = folder / "compose.yml", folder / "wg0.conf" if source == "wg-quick" else folder
    return sources.read(source, place, environment=compose if compose.is_file() else None)


@pytest.mark.parametrize("value", ["abc", "-5", "99999", "25.5"])
@pytest.mark.parametrize(
    ("source", "sample", "change", "setting"), CASES, ids=[f"{case[0]}-{case[1].__name__}-{case[3]}" for case in CASES]
)
def test_a_setting_of_the_whole_that_cannot_be_one_is_said(
    tmp_path: Path, keys: Keys, source: str, sample: Sample, change: Change, setting: str, value: str
) -> None:
    sample(tmp_path, keys)
    change(tmp_path, setting, value)
    fleet = read(source, tmp_path)
    said = [each for each in fleet.warnings if f"{value!r}" in each]
    assert len(said) == 1, fleet.warnings
    assert "left out" in said[0]
    assert getattr(fleet.interfaces[0], NAMES[setting]) is None


@pytest.mark.parametrize("value", ["", "0"])
@pytest.mark.parametrize(
    ("source", "sample", "change", "setting"), CASES, ids=[f"{case[0]}-{case[1].__name__}-{case[3]}" for case in CASES]
)
def test_none_is_none_and_nothing_is_said(
    tmp_path: Path, keys: Keys, source: str, sample: Sample, change: Change, setting: str, value: str
) -> None:
    sample(tmp_path, keys)
    before = read(source, tmp_path).warnings
    change(tmp_path, setting, value)
    fleet = read(source, tmp_path)
    assert set(fleet.warnings) <= set(before)
    assert not getattr(fleet.interfaces[0], NAMES[setting])


def test_settings_of_a_servers_file_that_have_no_like_are_said(tmp_path: Path, keys: Keys) -> None:
    wg_quick(tmp_path, keys)
    place = tmp_path / "wg0.conf"
    text = place.read_text().replace(
        "ListenPort", "Table = 42\nFwMark = 0x10\nDNS = 9.9.9.9\nJc = 4\nJc = 5\nSaveConfig = false\nListenPort"
    )
    place.write_text(f"{text}PersistentKeepalive = 21\nEndpoint = 192.0.2.7:1234\n")
    said = [each for each in sources.read("wg-quick", place).warnings if "line 1" in each or "keepalive" in each]
    assert said == [
        "wg0: line 1: Table = '42' is not taken over: nodes have routes of their own",
        "wg0: line 1: FwMark = '0x10' is not taken over: nodes have marks of their own",
        "wg0: line 1: DNS = '9.9.9.9' is the server's own, and not taken over; that of users is in their files",
        "wg0: line 1: jc = '5' is no setting of WireGuard, and not taken over",
        "wg0: 1 peer has a keepalive of the server: nodes send none, as devices keep their own ways open",
    ]
