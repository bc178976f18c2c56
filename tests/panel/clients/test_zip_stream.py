"""A ZIP in parts, read by Python's own reader: any members, very many, and beyond four gigabytes."""

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.zip_stream import MOST, ZipStream

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\:"), min_size=1, max_size=40)


@given(members=st.dictionaries(NAMES, st.binary(max_size=20_000), max_size=6))
def test_what_goes_in_comes_out(members: dict[str, bytes]) -> None:
    packed = ZipStream()
    whole = b"".join([*(packed.member(name, content) for name, content in members.items()), packed.end()])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert {each.filename: archive.read(each) for each in archive.infolist()} == members
        assert {each.external_attr >> 16 for each in archive.infolist()} <= {0o600}
        assert {each.date_time for each in archive.infolist()} <= {(2000, 1, 1, 0, 0, 0)}


@pytest.mark.slow
@pytest.mark.parametrize("count", [MOST - 1, MOST, MOST + 1])
def test_very_many_are_all_found(count: int) -> None:
    packed = ZipStream()
    whole = b"".join([*(packed.member(f"{number}.conf", b"x") for number in range(count)), packed.end()])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert len(archive.namelist()) == count
        assert archive.read(archive.namelist()[-1]) == b"x"


@pytest.mark.parametrize("before", [2**32 - 60, 2**32, 2**33])
def test_members_beyond_four_gigabytes_are_found(tmp_path: Path, before: int) -> None:
    packed, path = ZipStream(begins_at=before), tmp_path / "far.zip"
    with path.open("wb") as file:
        file.seek(before)  # nothing is written there, so the disk has nothing of it
        for name in "abc":
            file.write(packed.member(name, name.encode() * 9))
        file.write(packed.end())
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {n: n.encode() * 9 for n in "abc"}


def test_without_its_end_it_is_none() -> None:
    packed = ZipStream()
    broken = b"".join(packed.member(f"{number}.conf", b"x" * 300) for number in range(9))
    assert not zipfile.is_zipfile(io.BytesIO(broken))
