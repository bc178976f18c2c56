"""Databases that their program writes just now: read as they were before, or after, and never half."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from wgfleet.imports import sources


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal"])
def test_a_change_that_has_not_ended_is_not_seen(tmp_path: Path, mode: str) -> None:
    samples.wg_easy_15(tmp_path, Keys())
    before = [peer.name for peer in sources.read("wg-easy", tmp_path).interfaces[0].peers]
    with closing(sqlite3.connect(tmp_path / "wg-easy.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE filler (text TEXT)")
        connection.execute("PRAGMA cache_size = 2")  # so that some is written to the file before it ends
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE clients_table SET name = 'half'")
        connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 2000,)] * 100)
        assert [peer.name for peer in sources.read("wg-easy", tmp_path).interfaces[0].peers] == before
        connection.execute("COMMIT")
        assert {peer.name for peer in sources.read("wg-easy", tmp_path).interfaces[0].peers} == {"half"}
