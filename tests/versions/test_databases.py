"""A panel's database goes from 0.1.0 to this release, and back by the copy that is made before it changes."""

import shutil
from pathlib import Path

import pytest

from tests.versions.release import unpacked, wgfleet

pytestmark = pytest.mark.slow


def test_a_database_is_upgraded_refused_by_the_old_release_and_put_back(tmp_path: Path) -> None:
    old, data = unpacked(tmp_path), tmp_path / "data"
    first = wgfleet("panel", "init", "--data-dir", str(data), release=old)
    assert first.returncode == 0, first.stderr
    assert "admin API key" in first.stdout
    upgraded = wgfleet("panel", "init", "--data-dir", str(data))
    assert upgraded.returncode == 0, upgraded.stderr
    assert "there are API keys already" in upgraded.stdout
    [copy] = data.glob("*.before-upgrade-from-0003")
    back = wgfleet("panel", "init", "--data-dir", str(data), release=old)
    assert back.returncode == 1
    assert "a newer one has used it" in back.stderr
    assert "restore a copy" in back.stderr
    database = copy.with_name(copy.name.removesuffix(".before-upgrade-from-0003"))
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    shutil.copy(copy, database)
    again = wgfleet("panel", "init", "--data-dir", str(data), release=old)
    assert again.returncode == 0, again.stderr
    assert "there are API keys already" in again.stdout


def test_a_backup_is_made_counts_when_it_is_said_and_replaces_nothing(tmp_path: Path) -> None:
    data, copy = str(tmp_path / "data"), tmp_path / "copy.sqlite"
    assert wgfleet("panel", "init", "--data-dir", data).returncode == 0
    made = wgfleet("panel", "backup", str(copy), "--data-dir", data)
    assert made.returncode == 0, made.stderr
    assert copy.stat().st_mode & 0o777 == 0o600
    assert wgfleet("panel", "backup", str(copy), "--data-dir", data).returncode == 1
    restored = wgfleet("panel", "restored", "--data-dir", data)
    assert restored.returncode == 0, restored.stderr
    assert "counts now" in restored.stdout
