"""Texts in other encodings than UTF-8: read where they say so themselves, else refused with file, line and way out."""

import codecs
import io
import json
import os
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from wgfleet.imports import sent_files, sources
from wgfleet.imports.fleet import UnreadableError
from wgfleet.imports.sent_files import SentFile

NAMES = {"latin-1": "Jürgen", "cp1256": "كريم", "utf-16-le": "Jürgen"}
READ = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}


def server(keys: Keys, name: str) -> str:
    head = f"[Interface]\nPrivateKey = {keys.private('s')}\nListenPort = 51820\nAddress = 10.7.0.1/24\n"
    return f"{head}\n[Peer]\n# Name = {name}\nPublicKey = {keys.public('a')}\nAllowedIPs = 10.7.0.2/32\n"


@pytest.mark.parametrize("encoding", READ)
def test_what_says_its_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "wg0.conf").write_bytes(READ[encoding] + server(Keys(), "Jürgen").encode(encoding))
    (peer,) = sources.read("wg-quick", tmp_path).interfaces[0].peers
    assert peer.name == "Jürgen"


@pytest.mark.parametrize("whole", [True, False], ids=["folder", "file"])
@pytest.mark.parametrize("encoding", NAMES)
def test_a_servers_file_in_another_one_is_refused_with_its_line_and_the_way_out(
    tmp_path: Path, encoding: str, *, whole: bool
) -> None:
    file = tmp_path / "wg0.conf"
    file.write_bytes(server(Keys(), NAMES[encoding]).encode(encoding))
    with pytest.raises(UnreadableError) as refused:
        sources.read("wg-quick", tmp_path if whole else file)
    line = 1 if encoding.startswith("utf-16") else 7
    assert f"{file}: line {line}: is not in UTF-8" in str(refused.value)
    assert "iconv" in str(refused.value)
    assert "WINDOWS-1256" in str(refused.value), "of Persian and Arabic names"


def test_a_users_file_in_another_one_still_gives_its_keys(tmp_path: Path) -> None:
    keys = Keys()
    (tmp_path / "wg0.conf").write_text(server(keys, ""))
    user = f"[Interface]\n# Gerät\nPrivateKey = {keys.private('a')}\nAddress = 10.7.0.2/32\n"
    user += f"[Peer]\nPublicKey = {keys.public('s')}\nEndpoint = 192.0.2.1:51820\nAllowedIPs = 0.0.0.0/0\n"
    (tmp_path / "phone.conf").write_bytes(user.encode("latin-1"))
    found = sources.read("wg-quick", tmp_path)
    assert (found.interfaces[0].peers[0].private_key, found.warnings) == (keys.private("a"), ())


def test_what_lies_beside_may_be_of_any_kind_and_names_in_lists_may_not(tmp_path: Path) -> None:
    keys = Keys()
    (tmp_path / "wg0.conf").write_text(server(keys, ""))
    (tmp_path / "clients.txt").write_bytes(f"J\xfcrgen {keys.public('a')} 1700000000 168230914\n".encode("latin-1"))
    with pytest.raises(UnreadableError, match=r"clients.txt: line 1: is not in UTF-8"):
        sources.read("pivpn", tmp_path)
    wg_easy = '{"server": {"privateKey": "KEY", "address": "10.8.0.1"}, "clients": {}}'
    sent = [
        SentFile("wg0.json", wg_easy.replace("KEY", keys.private("s")).encode()),
        SentFile("notes", b"\xff\xfe\xff"),
    ]
    assert sent_files.read("wg-easy", sent).interfaces


def spoil(place: Path, statement: str) -> None:
    with closing(sqlite3.connect(place)) as connection, connection:
        assert connection.execute(statement).rowcount > 0


@pytest.mark.parametrize(
    ("sample", "source", "place", "statement", "said"),
    [
        (
            samples.wg_easy_15,
            "wg-easy",
            "wg-easy.db",
            "UPDATE clients_table SET name = CAST(X'4AFC7267656E' AS TEXT) WHERE id = 4",
            "client 4: name 'J�rgen' is not in UTF-8",
        ),
        (
            samples.wgdashboard,
            "wgdashboard",
            "wgdashboard.db",
            "UPDATE office SET name = CAST(X'4AFC7267656E' AS TEXT)",
            ": name 'J�rgen' is not in UTF-8",
        ),
        (
            samples.wg_portal,
            "wg-portal",
            "sqlite.db",
            "UPDATE peers SET notes = CAST(X'4AFC7267656E' AS TEXT)",
            ": notes 'J�rgen' is not in UTF-8",
        ),
    ],
)
def test_a_text_of_a_database_in_another_one_is_kept_as_far_as_it_goes_and_said(
    tmp_path: Path, sample: Callable[[Path, Keys], None], source: str, place: str, statement: str, said: str
) -> None:
    sample(tmp_path, Keys())
    before = sources.read(source, tmp_path)
    spoil(tmp_path / place, statement)
    found = sources.read(source, tmp_path)
    assert [each for each in found.warnings if said in each], found.warnings
    assert [len(each.peers) for each in found.interfaces] == [len(each.peers) for each in before.interfaces]
    assert not [each for each in before.warnings if "UTF-8" in each]


def test_half_a_character_in_json_is_kept_as_a_sign_and_said(tmp_path: Path) -> None:
    keys = Keys()
    samples.wg_easy_14(tmp_path, keys)
    place = tmp_path / "wg0.json"
    kept = json.loads(place.read_text())
    names = [client["name"] for client in kept["clients"].values()]
    for client in kept["clients"].values():
        client["name"] = "\ud800" + client["name"]
    place.write_text(json.dumps(kept))
    found = sources.read("wg-easy", place)
    assert [peer.name for peer in found.interfaces[0].peers] == [f"�{name}" for name in names]
    assert sum("is not in UTF-8" in each for each in found.warnings) == len(names)


def user(keys: Keys, name: str) -> str:
    head = f"[Interface]\nPrivateKey = {keys.private(name)}\nAddress = 10.7.0.2/32\n"
    return f"{head}[Peer]\nPublicKey = {keys.public('s')}\nEndpoint = 192.0.2.1:51820\nAllowedIPs = 0.0.0.0/0\n"


def zipped(members: dict[bytes, str]) -> SentFile:
    """Return a ZIP whose names have these bytes, and which does not say what they are in."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, text in enumerate(members.values()):
            archive.writestr(f"{number:08}.conf", text)
    content = packed.getvalue()
    for number, name in enumerate(members):
        content = content.replace(f"{number:08}.conf".encode(), name.rjust(13, b"_"))
    return SentFile("sent.zip", content)


@pytest.mark.parametrize(
    ("name", "read", "warned"), [("Jürgen".encode(), "Jürgen", False), ("Jürgen".encode("latin-1"), "J�rgen", True)]
)
@pytest.mark.parametrize("kind", ["zip", "tar", "folder"])
def test_names_of_files_are_read_as_utf_8_and_said_where_they_are_not(
    tmp_path: Path, kind: str, name: bytes, read: str, *, warned: bool
) -> None:
    keys = Keys()
    name = name.rjust(8, b"_") + b".conf"
    members = {b"_____wg0.conf": server(keys, ""), name: user(keys, "a")}
    if kind == "folder":
        for each, text in members.items():
            Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + each)).write_text(text)
        found = sources.read("wg-quick", tmp_path)
    elif kind == "zip":
        found = sent_files.read("wg-quick", [zipped(members)])
    else:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for each, text in members.items():
                about = tarfile.TarInfo(os.fsdecode(each))
                about.size = len(text)
                archive.addfile(about, io.BytesIO(text.encode()))
        found = sent_files.read("wg-quick", [SentFile("sent.tar", packed.getvalue())])
    (peer,) = found.interfaces[0].peers
    assert (peer.private_key, peer.name.lstrip("_")) == (keys.private("a"), read)
    assert any("is not in UTF-8" in each for each in found.warnings) == warned
    json.dumps(found.warnings, ensure_ascii=False).encode()


def test_what_is_refused_is_said_in_text_whatever_the_name_of_the_file(tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.conf"))
    place.write_bytes(b"[Interface]\nPrivateKey = x\nListenPort = 1\n# \xff\n")
    for path in (place, tmp_path):
        with pytest.raises(UnreadableError) as refused:
            sources.read("wg-quick", path)
        str(refused.value).encode()
