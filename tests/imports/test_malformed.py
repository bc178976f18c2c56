"""Sources in which something is not as it should be: each is read as far as it can be, or refused with words."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from wgfleet.imports import sources
from wgfleet.imports.databases import MAX_VALUE
from wgfleet.imports.fleet import ImportedFleet, UnreadableError

WRITERS: dict[str, tuple[str, Callable[[Path, Keys], None]]] = {
    "wgdashboard": ("wgdashboard", samples.wgdashboard),
    "wg-easy up to 14": ("wg-easy", samples.wg_easy_14),
    "wg-easy": ("wg-easy", samples.wg_easy_15),
    "wireguard-ui": ("wireguard-ui", samples.wireguard_ui),
    "wg-portal": ("wg-portal", samples.wg_portal),
}
VALUES = [None, b"\xff\x00", -1, 1e308, "²", "9" * 5000, "[{}]", "0001-01-01 00:00:00"]
JSON_VALUES: list[Any] = [None, -1, 1e308, "²", "9" * 5000, "\ud800", [{}], {"a": None}]
SERVER = "[Interface]\nPrivateKey = {}\nListenPort = 51820\nAddress = 10.7.0.1/24\n"
PEER = "[Peer]\n# Name = {}\nPublicKey = {}\nAllowedIPs = 10.7.0.2/32\n"


def read(source: str, folder: Path) -> ImportedFleet:
    return sources.read(source, folder, files=folder if source == "wgdashboard" else None)


def test_a_number_of_thousands_of_digits_is_refused_without_words_of_python(tmp_path: Path) -> None:
    (tmp_path / "wg0.json").write_text('{"server": {"port": ' + "9" * 5000 + "}}")
    with pytest.raises(UnreadableError, match=r"it has a number that is too long$"):
        sources.read("wg-easy", tmp_path)


@pytest.mark.parametrize("sample", WRITERS)
def test_no_value_ends_the_reading_without_words(tmp_path: Path, sample: str) -> None:
    source, write = WRITERS[sample]
    write(tmp_path, Keys())
    looked = 0
    for _ in (*in_databases(tmp_path), *in_documents(tmp_path)):
        looked += 1
        with suppress(UnreadableError):
            read(source, tmp_path)
    assert looked > 100
    assert read(source, tmp_path).interfaces  # all is as it was


def in_databases(folder: Path) -> Iterator[None]:
    """Put each value into each column of each table, one after another."""
    for place in folder.rglob("*.db"):
        with closing(sqlite3.connect(place, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = OFF")
            for (table,) in connection.execute("SELECT name FROM sqlite_master").fetchall():
                for column in [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]:
                    old = connection.execute(f'SELECT "{column}", rowid FROM "{table}"').fetchall()  # noqa: S608 - our own names
                    for value in VALUES:
                        connection.execute(f'UPDATE "{table}" SET "{column}" = ?', (value,))  # noqa: S608 - our own names
                        yield
                    connection.executemany(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', old)  # noqa: S608 - our own names


def in_documents(folder: Path) -> Iterator[None]:
    """Put each value into each place of each JSON document, one after another."""
    for place in folder.rglob("*.json"):
        text = place.read_text()
        for path in paths(json.loads(text)):
            for value in JSON_VALUES:
                changed = json.loads(text)
                within = changed
                for part in path[:-1]:
                    within = within[part]
                within[path[-1]] = value
                place.write_text(json.dumps(changed))
                yield
        place.write_text(text)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from paths(value[key], (*path, key))


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("clients_table", "private_key", 7),
        ("clients_table", "private_key", "AAAA"),
        ("clients_table", "ipv4_address", "10.8.0.999"),
        ("clients_table", "id", None),
    ],
)
def test_one_client_that_is_malformed_is_left_out_and_named(
    tmp_path: Path, table: str, column: str, value: object
) -> None:
    samples.wg_easy_15(tmp_path, keys := Keys())
    with closing(sqlite3.connect(tmp_path / "wg-easy.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE more AS SELECT * FROM clients_table")
        public, private = keys.public("second"), keys.private("second")
        connection.execute("UPDATE more SET public_key = ?, private_key = ?, name = 'second'", (public, private))
        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))  # noqa: S608 - our own names
        connection.execute("INSERT INTO clients_table SELECT * FROM more")
    fleet = sources.read("wg-easy", tmp_path)
    names = [each.name for each in fleet.interfaces[0].peers]
    assert names[-1] == "second"
    assert names == ["second"] or column == "id"
    assert any("tablet" in said and "left out" in said for said in fleet.warnings) or column == "id"
    assert not any("AAAA" in said for said in fleet.warnings)


def test_a_text_in_another_encoding_ends_nothing(tmp_path: Path) -> None:
    samples.wg_easy_15(tmp_path, Keys())
    with closing(sqlite3.connect(tmp_path / "wg-easy.db", isolation_level=None)) as connection:
        connection.execute("UPDATE clients_table SET name = CAST(x'e1cfc7' AS TEXT)")
    (tablet,) = sources.read("wg-easy", tmp_path).interfaces[0].peers
    assert "\N{REPLACEMENT CHARACTER}" in tablet.name


def test_a_database_that_grows_when_it_is_read_is_refused(tmp_path: Path) -> None:
    samples.wg_easy_15(tmp_path, Keys())
    with closing(sqlite3.connect(tmp_path / "wg-easy.db", isolation_level=None)) as connection:
        connection.execute("DROP TABLE hooks_table")
        connection.execute(f"CREATE TABLE hooks_table (id, post_up AS (zeroblob({MAX_VALUE * 8})))")
        connection.execute("INSERT INTO hooks_table (id) VALUES ('wg0')")
    with pytest.raises(UnreadableError, match="too big"):
        sources.read("wg-easy", tmp_path)


def test_a_database_without_the_table_of_its_users_is_refused(tmp_path: Path) -> None:
    samples.wg_easy_15(tmp_path, Keys())
    with closing(sqlite3.connect(tmp_path / "wg-easy.db", isolation_level=None)) as connection:
        connection.execute("DROP TABLE clients_table")
    with pytest.raises(UnreadableError, match="clients_table"):
        sources.read("wg-easy", tmp_path)


@pytest.mark.parametrize("source", sources.SOURCES)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, source: str) -> None:
    os.mkfifo(tmp_path / "pipe.conf")
    for place in (tmp_path / "pipe.conf", Path("/dev/zero")):
        with pytest.raises(UnreadableError, match=r"is no file|has no server"):
            sources.read(source, place / "db" if source == "wireguard-ui" else place)


def beside_folder(place: Path) -> None:
    place.mkdir()


def beside_pipe(place: Path) -> None:
    os.mkfifo(place)


def beside_loop(place: Path) -> None:
    place.symlink_to(place.name)


def beside_nothing(place: Path) -> None:
    place.symlink_to("nowhere")


def beside_large(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(17 * 1024 * 1024)


def beside_noise(place: Path) -> None:
    place.write_bytes(bytes(range(256)) * 20)


@pytest.mark.parametrize("put", [beside_folder, beside_pipe, beside_loop, beside_nothing, beside_large, beside_noise])
def test_what_lies_beside_the_file_of_a_server_ends_nothing(tmp_path: Path, put: Callable[[Path], None]) -> None:
    keys = Keys()
    text = SERVER.format(keys.private("server")) + PEER.format("رضا", keys.public("reza"))
    (tmp_path / "wg0.conf").write_text(text)
    put(tmp_path / "x.conf")
    fleet = sources.read("wg-quick", tmp_path)
    assert [peer.name for peer in fleet.interfaces[0].peers] == ["رضا"]
    assert any("x.conf" in said for said in fleet.warnings) or put is beside_noise


def test_folders_without_end_and_those_that_list_no_files_are_passed_over(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no file of a server"):
        sources.read("pivpn", Path("/proc"))
    (tmp_path / "wg0.conf").write_text(SERVER.format(Keys().private("server")))
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(sources.read("wg-quick", tmp_path).interfaces) == 1


def test_files_of_users_are_found_some_folders_below(tmp_path: Path) -> None:
    keys = Keys()
    (tmp_path / "wg0.conf").write_text(SERVER.format(keys.private("server")) + PEER.format("", keys.public("reza")))
    place = tmp_path / "configs/192.0.2.1/wireguard"
    deep = place / "a/b/c"
    deep.mkdir(parents=True)
    for folder, name in ((place, "reza"), (deep, "other")):
        said = f"[Peer]\nPublicKey = {keys.public('server')}\nAllowedIPs = 0.0.0.0/0\nEndpoint = a.example.com:1\n"
        own = keys.private("reza" if folder is place else "other")
        (folder / f"{name}.conf").write_text(f"[Interface]\nPrivateKey = {own}\nAddress = 10.7.0.2/32\n{said}")
    (peer,) = sources.read("wg-quick", tmp_path / "wg0.conf").interfaces[0].peers
    assert peer.private_key == keys.private("reza")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le with its mark"])
def test_files_of_windows_are_read(tmp_path: Path, encoding: str) -> None:
    keys = Keys()
    text = SERVER.format(keys.private("server")) + PEER.format("رضا", keys.public("reza"))
    name, _, mark = encoding.partition(" ")
    (tmp_path / "wg0.conf").write_bytes((("\ufeff" if mark else "") + text).replace("\n", "\r\n").encode(name))
    (peer,) = sources.read("wg-quick", tmp_path / "wg0.conf").interfaces[0].peers
    assert peer.name == "رضا"


def test_a_file_whose_name_is_no_text_can_be_sent_on(tmp_path: Path) -> None:
    text = SERVER.format(Keys().private("server"))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.conf")).write_text(text)
    (interface,) = sources.read("wg-quick", tmp_path).interfaces
    interface.name.encode()


@pytest.mark.parametrize("row", ["anna {} ² x", "anna {} 1 99999999999", f"anna {{}} {'9' * 5000} ²", "anna {}"])
def test_a_row_of_pivpn_s_list_that_is_malformed_ends_nothing(tmp_path: Path, row: str) -> None:
    keys = Keys()
    (tmp_path / "wg0.conf").write_text(SERVER.format(keys.private("server")) + PEER.format("x", keys.public("anna")))
    (tmp_path / "clients.txt").write_text(row.format(keys.public("anna")))
    (tmp_path / "setupVars.conf").write_text(f"pivpnPERSISTENTKEEPALIVE=²\npivpnPORT={'9' * 5000}\npivpnHOST=a\n")
    (peer,) = sources.read("pivpn", tmp_path).interfaces[0].peers
    assert (peer.name, peer.addresses) == ("anna", ("10.7.0.2",))


GAP = " " * 3_000


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 60_000,
        f"# name{GAP * 20}x",
        f"### begin{GAP}x",
        f"# Client: x{GAP * 20}x",
    ],
)
def test_spaces_without_end_are_read_once(tmp_path: Path, text: str) -> None:
    keys = Keys()
    peer = PEER.format("anna", keys.public("anna")).replace("# Name = anna", text)
    (tmp_path / "wg0.conf").write_text(SERVER.format(keys.private("server")) + peer)
    began = time.monotonic()
    assert len(sources.read("wg-quick", tmp_path).interfaces[0].peers) == 1
    assert time.monotonic() - began < 1, "one of 3,000 spaces held up the panel for seven seconds"


@pytest.mark.parametrize("line", ['WG_HOST={}"x"y', "{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}x"])
def test_variables_of_spaces_are_read_once(tmp_path: Path, line: str) -> None:
    samples.wg_easy_14(tmp_path, Keys())
    variables = tmp_path / "variables"
    variables.write_text(line.format(GAP))
    began = time.monotonic()
    sources.read("wg-easy", tmp_path, environment=variables)
    assert time.monotonic() - began < 1
