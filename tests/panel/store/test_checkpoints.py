"""Checkpoints: what was written stands in the file, the journal stays short, and nobody who reads or writes is lost."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wgfleet.panel.services import audit
from wgfleet.panel.store import Store
from wgfleet.panel.store.databases import JOURNAL_PAGES
from wgfleet.panel.store.schema import migrate

ROWS = 200


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "panel.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{file}")
    migrate(store)
    store.checkpoint()
    yield store
    store.close()


def write(store: Store) -> None:
    with store.write() as tx:
        for _ in range(ROWS):
            audit.record(tx, "test", "written", "test", "1")


def in_file(file: Path, place: Path) -> int:
    """Return how many rows there are without the journal."""
    copy = shutil.copy(file, place)
    with sqlite3.connect(copy) as connection:
        (count,) = connection.execute("SELECT count(*) FROM audit_log").fetchone()
    connection.close()
    return int(count)


def journal_bytes(file: Path) -> int:
    return file.with_name(f"{file.name}-wal").stat().st_size


def test_what_was_written_stands_in_the_file_and_the_journal_begins_anew(
    store: Store, file: Path, tmp_path: Path
) -> None:
    before = in_file(file, tmp_path / "before")
    for _ in range(5):
        write(store)
    assert in_file(file, tmp_path / "unmade") == before  # by itself SQLite leaves it to the journal
    store.checkpoint()
    assert in_file(file, tmp_path / "made") == before + 5 * ROWS
    longest = journal_bytes(file)
    for _ in range(5):
        write(store)
        store.checkpoint()
    assert journal_bytes(file) == longest


@pytest.mark.parametrize("limit", [JOURNAL_PAGES, 0], ids=["short", "long"])
def test_one_that_reads_keeps_nobody_from_writing(
    store: Store, file: Path, limit: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("wgfleet.panel.store.checkpoints.JOURNAL_PAGES", limit)
    before = in_file(file, tmp_path / "before")
    with store.read() as tx:
        counted = tx.connection.exec_driver_sql("SELECT count(*) FROM audit_log").scalar_one()
        write(store)
        store.checkpoint()
        write(store)
        assert tx.connection.exec_driver_sql("SELECT count(*) FROM audit_log").scalar_one() == counted
    store.checkpoint()
    assert in_file(file, tmp_path / "after") == before + 2 * ROWS


def test_beside_those_that_write_nothing_is_lost(store: Store, file: Path, tmp_path: Path) -> None:
    before = in_file(file, tmp_path / "before")

    def write_often() -> None:
        for _ in range(5):
            write(store)

    writers = [threading.Thread(target=write_often) for _ in range(3)]
    for each in writers:
        each.start()
    while any(each.is_alive() for each in writers):
        store.checkpoint()
    store.checkpoint()
    assert in_file(file, tmp_path / "after") == before + 15 * ROWS
