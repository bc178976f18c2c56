"""Checkpoints of an SQLite database: what its journal (`-wal`) holds is written into the file, and nobody waits for it.

By itself SQLite does this in the transaction that makes the journal longer than 1,000 pages, and who wants to write
meanwhile waits for its disk: of 2,000 rows in a file of 200,000, a commit took 74 ms at the median and 519 at most, and
20 and 67 where a thread of its own sees to the journal (https://sqlite.org/wal.html, section 3.2).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Engine

from wgfleet.panel.errors import Unavailable
from wgfleet.panel.store.databases import JOURNAL_PAGES
from wgfleet.panel.store.turns import WriterTurns

READERS_MS = 100  # are waited for once the journal is that long: before, there were always some


class JournalPages(NamedTuple):
    """How many pages the journal holds, and how many of them are in the file too."""

    pages: int
    written: int


def make(engine: Engine, turns: WriterTurns) -> None:
    """Write what the journal holds into the file, so that the next that writes begins it again from the start.

    Most of it while others write; what they add meanwhile, a little, in a turn of its own. Raise `Unavailable` where
    that turn is not had, or the disk does not take it.
    """
    with _cursor(engine) as cursor:
        journal = _checkpoint(cursor, "PASSIVE")
        if journal.pages == journal.written and journal.pages < JOURNAL_PAGES:
            return
        with turns.turn():
            _end(cursor, journal)


def _end(cursor: sqlite3.Cursor, journal: JournalPages) -> None:
    if journal.pages < JOURNAL_PAGES:
        _checkpoint(cursor, "PASSIVE")
        return
    (before,) = cursor.execute("PRAGMA busy_timeout").fetchone()
    cursor.execute(f"PRAGMA busy_timeout={READERS_MS}")
    try:
        _checkpoint(cursor, "RESTART")
    finally:
        cursor.execute(f"PRAGMA busy_timeout={before}")


def _checkpoint(cursor: sqlite3.Cursor, mode: str) -> JournalPages:
    _, pages, written = cursor.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return JournalPages(pages, written)


@contextmanager
def _cursor(engine: Engine) -> Iterator[sqlite3.Cursor]:
    """Give a cursor outside of any transaction: SQLite makes no checkpoint in one."""
    connection = engine.raw_connection()
    try:
        yield connection.cursor()  # type: ignore[misc]  # of the driver, whatever the protocol says
    except sqlite3.Error as error:
        raise Unavailable(
            f"the database's journal cannot be written into its file ({error})", retry_after_s=1
        ) from error
    finally:
        connection.close()
