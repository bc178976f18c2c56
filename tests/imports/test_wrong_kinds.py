"""What is no source, or half of one: refused, or said, in words of people, not those of a library."""

import io
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from wgfleet.imports import sent_files, sources
from wgfleet.imports.fleet import ImportedFleet, UnreadableError
from wgfleet.imports.sent_files import SentFile

DATABASES = {"wgdashboard": "wgdashboard.db", "wg-easy": "wg-easy.db", "wg-portal": "sqlite.db"}


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, content in files.items():
            packed.writestr(name.replace("_", "."), content)
    return out.getvalue()


def refusal(source: str, path: Path) -> str:
    with pytest.raises(UnreadableError) as refused:
        sources.read(source, path)
    return str(refused.value)


@pytest.mark.parametrize("source", sources.SOURCES)
def test_an_archive_in_place_of_what_is_in_it_is_called_one(tmp_path: Path, source: str) -> None:
    inner = zipped(wg0_conf=b"x")
    (tmp_path / "saved.bak").write_bytes(inner)
    assert "saved.bak: is an archive; unpack it" in refusal(source, tmp_path / "saved.bak")
    with pytest.raises(UnreadableError, match=r"^inner.zip: is an archive; unpack it"):
        sent_files.read(source, [SentFile("outer.zip", zipped(inner_zip=inner))])


@pytest.mark.parametrize("source", sources.SOURCES)
def test_an_empty_file_is_called_so(tmp_path: Path, source: str) -> None:
    (tmp_path / "wg-easy.db").touch()
    assert refusal(source, tmp_path / "wg-easy.db").endswith("wg-easy.db: is empty")


@pytest.mark.parametrize(("source", "name"), DATABASES.items())
def test_an_empty_database_in_a_folder_is_called_so(tmp_path: Path, source: str, name: str) -> None:
    (tmp_path / name).touch()
    assert refusal(source, tmp_path).endswith(f"{name}: is empty")


@pytest.mark.parametrize("source", sources.SOURCES)
def test_another_kind_of_file_or_folder_is_refused_by_name(tmp_path: Path, source: str) -> None:
    (tmp_path / "notes").write_text("hello")
    (tmp_path / "empty").mkdir()
    for place in ("notes", "empty"):
        said = refusal(source, tmp_path / place)
        assert place in said
        assert "directory" not in said


@pytest.mark.parametrize("source", ["wgdashboard", "wg-easy", "wg-portal"])
def test_another_programs_database_is_refused_by_name(tmp_path: Path, source: str) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    assert "other.db: has no table" in refusal(source, tmp_path / "other.db")


def wg_easy_14(folder: Path, **client: Any) -> ImportedFleet:
    samples.wg_easy_14(folder, Keys())
    place = folder / "wg0.json"
    kept = json.loads(place.read_text())
    next(iter(kept["clients"].values())).update(client)
    place.write_text(json.dumps(kept))
    return sources.read("wg-easy", folder)


def test_an_expiry_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    found = wg_easy_14(tmp_path, expiredAt="next tuesday")
    (said,) = [each for each in found.warnings if "next tuesday" in each]
    assert "expires" in said
    assert not [each for each in wg_easy_14(tmp_path, expiredAt=None).warnings if "expires" in each]
    (tmp_path / "15").mkdir()
    samples.wg_easy_15(tmp_path / "15", Keys())
    with closing(sqlite3.connect(tmp_path / "15" / "wg-easy.db", isolation_level=None)) as connection:
        connection.execute("UPDATE clients_table SET expires_at = 'soon'")
    assert [each for each in sources.read("wg-easy", tmp_path / "15").warnings if "'soon'" in each]


def test_a_server_without_an_address_lacks_one(tmp_path: Path) -> None:
    samples.wg_easy_14(tmp_path, Keys())
    place = tmp_path / "wg0.json"
    kept = json.loads(place.read_text())
    for value in (None, "", "nothing"):
        kept["server"]["address"] = value
        place.write_text(json.dumps(kept))
        said = refusal("wg-easy", place)
        assert "server.address" in said
        assert "None" not in said


def test_a_line_that_is_none_is_said_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "wg7.conf").write_text("[Interface]\nhello\n")
    assert refusal("wg-quick", tmp_path / "wg7.conf").startswith("wg7: line 2: ")


def test_a_peer_whose_lines_are_wrong_but_whose_row_is_right_is_not_said_to_be_left_out(tmp_path: Path) -> None:
    keys = Keys()
    samples.wgdashboard(tmp_path, keys)
    file = tmp_path / "office.conf"
    text = file.read_text().replace("10.9.0.7/32", "10.9.0.777/32")
    file.write_text(f"{text}\n[Peer]\nPublicKey = {keys.public('gone')}\nAllowedIPs = nowhere\n")
    found = sources.read("wgdashboard", tmp_path, files=tmp_path)
    assert [peer.name for peer in found.interfaces[0].peers] == ["Anna's laptop", ""]
    anna, gone = [each for each in found.warnings if "line" in each]
    assert ("left out" in anna, "read from the database alone" in anna) == (False, True)
    assert ("left out" in gone, "database" in gone) == (True, False)


def test_the_file_of_a_user_is_not_taken_for_that_of_a_server(tmp_path: Path) -> None:
    keys = Keys()
    head = f"[Interface]\nPrivateKey = {keys.private('a')}\nAddress = 10.9.0.2/24\n"
    text = f"[Peer]\nPublicKey = {keys.public('s')}\nEndpoint = vpn.example.com:51820\nAllowedIPs = 10.9.0.0/24\n"
    file = tmp_path / "phone.conf"
    file.write_text(head + text)
    assert "phone.conf: is the file of a user" in refusal("wg-quick", file)
    file.write_text(f"{head}ListenPort = 51820\n{text}")
    assert sources.read("wg-quick", file).interfaces, "a server may have one peer, and know where that is"
