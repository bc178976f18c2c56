"""Files that were sent for an import lead nowhere else, and unpack to no more than is allowed."""

import contextlib
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.imports import samples
from tests.imports.samples import Keys
from wgfleet.imports import sent_files, sources
from wgfleet.imports.fleet import ImportedFleet, UnreadableError
from wgfleet.imports.sent_files import SentFile


def server(keys: Keys) -> bytes:
    return f"[Interface]\nPrivateKey = {keys.private('s')}\nListenPort = 51820\nAddress = 10.8.0.1/24\n".encode()


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def link(name: str, to: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


def test_what_leads_out_of_the_folder_is_passed_over(tmp_path: Path) -> None:
    outside = tmp_path / "wg1.conf"
    outside.write_bytes(server(Keys()))
    up = "../" * 12
    packed = tar_of(
        (tarfile.TarInfo("wireguard/wg0.conf"), server(Keys())),
        (tarfile.TarInfo(f"{up}{tmp_path}/planted.conf"), b"x"),
        (tarfile.TarInfo(str(tmp_path / "absolute.conf")), b"x"),
        link("wireguard/wg1.conf", str(outside), tarfile.SYMTYPE),
        link("wireguard/wg2.conf", str(outside), tarfile.LNKTYPE),
        link("wireguard/pipe", "", tarfile.FIFOTYPE),
    )
    found = sent_files.read("wg-quick", [SentFile("etc.tar.gz", packed)])
    assert [each.name for each in found.interfaces] == ["wg0"]
    assert list(tmp_path.iterdir()) == [outside]


@pytest.mark.parametrize("name", ["a" * 5000 + ".conf", "a/" * 3000 + "wg0.conf"])
def test_a_name_that_no_file_can_have_is_said_without_folders_of_this_machine(name: str) -> None:
    with pytest.raises(UnreadableError) as refused:
        sent_files.read("wg-quick", [SentFile("etc.tar.gz", tar_of((tarfile.TarInfo(name), b"x")))])
    assert str(refused.value) == "etc.tar.gz: cannot be unpacked: File name too long"


def test_the_machines_own_folders_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else, what WGDashboard has besides its database is read from /etc/wireguard."""
    samples.wgdashboard(tmp_path, Keys())
    asked: list[Path] = []
    read = sources.read

    def noted(source: str, path: Path, **beside: Any) -> ImportedFleet:
        asked.extend((path, beside["files"]))
        return read(source, path, **beside)

    monkeypatch.setattr(sources, "read", noted)
    sent = [SentFile(path.name, path.read_bytes()) for path in tmp_path.iterdir() if path.is_file()]
    (interface,) = sent_files.read("wgdashboard", sent).interfaces
    assert interface.private_key is not None
    assert {path.name for path in asked} == {"sent"}
    assert not any(path.exists() for path in asked), "nothing stays"


@pytest.mark.parametrize("kind", ["tar.gz", "zip", "many"])
def test_what_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(sent_files, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(sent_files, "MAX_FILES", 10)
    if kind == "tar.gz":
        content = gzip.compress(b"\0" * 20_000_000)
    else:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
            for number in range(20 if kind == "many" else 1):
                packed.writestr(f"{number}.conf", b"\0" * (1 if kind == "many" else 20_000_000))
        content, kind = out.getvalue(), "zip"
    with pytest.raises(UnreadableError, match="MiB, or 10 files"):
        sent_files.read("wg-quick", [SentFile(f"bomb.{kind}", content)])


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_an_archive_of_too_many_files_is_refused_before_one_is_written(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sent_files, "MAX_FILES", 10)
    monkeypatch.setattr(Path, "write_bytes", lambda *_: pytest.fail("one was written"))
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as packed:
            for number in range(11):
                packed.writestr(f"{number}.conf", b"")
    else:
        with tarfile.open(fileobj=out, mode="w:gz" if kind == "tar.gz" else "w") as rolled:
            for number in range(11):
                rolled.addfile(tarfile.TarInfo(f"{number}.conf"))
    with pytest.raises(UnreadableError, match="MiB, or 10 files"):
        sent_files.read("wg-quick", [SentFile(f"many.{kind}", out.getvalue())])


def test_a_sparse_file_of_an_archive_is_not_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """GNU tar writes holes as their length: 100 GiB in 1 KiB."""
    monkeypatch.setattr(sent_files, "MAX_BYTES", 1_000_000)
    info = tarfile.TarInfo("wg0.conf")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = b"\x80" + (100 * 1024**3).to_bytes(11)
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(UnreadableError, match="MiB, or"):
        sent_files.read("wg-quick", [SentFile("sparse.tar", bytes(header) + bytes(1024))])


@given(data=st.data())
def test_a_damaged_archive_is_refused_in_words(archives: dict[str, list[bytes]], data: st.DataObject) -> None:
    ending = data.draw(st.sampled_from(sorted(archives)))
    content = bytearray(data.draw(st.sampled_from(archives[ending])))
    places = st.integers(0, len(content) - 1) | st.integers(-400, -1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=12)):
        content[max(place, -len(content))] = value
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    with contextlib.suppress(UnreadableError):
        sent_files.read("wg-quick", [SentFile(f"sent{ending}", bytes(content))])


@pytest.mark.parametrize(
    ("ending", "damage"),
    [
        (".zip", lambda content: content.replace(b"PK\5\6", b"PK\5\6\xff", 1)),
        (".zip", lambda content: content[:-6] + b"\xff\xff\xff\0" + content[-2:]),  # where the list of files begins
        (".zip", lambda content: content.replace(b"one.conf", b"\xff" * 8).replace(b"\0\0\x21\0", b"\0\x08\x21\0")),
    ],
)
def test_damage_that_the_library_does_not_name(
    archives: dict[str, list[bytes]], ending: str, damage: Callable[[bytes], bytes]
) -> None:
    for content in archives[ending]:
        with pytest.raises(UnreadableError):
            sent_files.read("wg-quick", [SentFile(f"sent{ending}", damage(content))])


@pytest.fixture(scope="module")
def archives() -> dict[str, list[bytes]]:
    """Archives of two files, by the ending of their names."""
    zips = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as packed:
            packed.writestr("wireguard/one.conf", server(Keys()))
            packed.writestr("wireguard/two.conf", server(Keys()) * 3)
        zips.append(out.getvalue())
    tars = [tar_of((tarfile.TarInfo("one.conf"), server(Keys())), (tarfile.TarInfo("two.conf"), server(Keys())))]
    return {".zip": zips, ".tgz": tars, ".tar": [gzip.decompress(each) for each in tars]}


def test_an_archive_with_a_password_is_refused_with_the_way_out(archives: dict[str, list[bytes]]) -> None:
    content = bytearray(archives[".zip"][0])
    # The flags of the first file: in its own header, and in the directory at the end (APPNOTE.TXT, 4.3.7 and 4.3.12).
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UnreadableError, match=r"^sent.zip: has a password; unpack it"):
        sent_files.read("wg-quick", [SentFile("sent.zip", bytes(content))])


def test_a_compose_file_among_them_has_the_variables(tmp_path: Path) -> None:
    samples.wg_easy_14(tmp_path, Keys())
    sent = [SentFile(path.name, path.read_bytes()) for path in tmp_path.iterdir()]
    (interface,) = sent_files.read("wg-easy", sent).interfaces
    assert interface.endpoint == "vpn.example.org:443"
