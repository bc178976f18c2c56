"""The data directory is for its owner alone, also where it was there before."""

from pathlib import Path

import pytest

from wgfleet.panel.data_dir import prepare_data_dir
from wgfleet.panel.errors import PermanentError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_new_directory_is_closed(tmp_path: Path) -> None:
    prepare_data_dir(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_an_open_directory_and_database_are_closed(tmp_path: Path) -> None:
    files = [tmp_path / "panel.sqlite", tmp_path / "panel.sqlite-wal"]
    for file in files:
        file.touch(0o644)
    tmp_path.chmod(0o755)
    prepare_data_dir(tmp_path)
    assert mode(tmp_path) == 0o700
    assert [mode(file) for file in files] == [0o600, 0o600]


def test_a_directory_of_everybody_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(PermanentError, match="--data-dir"):
        prepare_data_dir(shared)
    assert mode(shared) == 0o1777


def test_a_directory_of_something_else_is_not_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(PermanentError, match="has files of something else"):
        prepare_data_dir(tmp_path)
    assert mode(tmp_path) == 0o755
    (tmp_path / "panel.sqlite").touch()
    prepare_data_dir(tmp_path)
    assert mode(tmp_path) == 0o700
