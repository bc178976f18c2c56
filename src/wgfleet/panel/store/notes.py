"""Notes that the API processes of one panel share: what each must know of the others, and no start of the panel keeps.

They are an SQLite file of their own, made again at each start, which waits for no disk. A process that is killed leaves
it whole. What is secret is sealed before it is noted.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wgfleet.panel.errors import Unavailable

FILE = "api-notes.sqlite"
BUSY_S = 5.0  # for others, whose changes take far less than a millisecond
_SCHEMA = """
CREATE TABLE attempts (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, source TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX attempts_of_source ON attempts (kind, source, at);
CREATE INDEX attempts_of_kind ON attempts (kind, number);
CREATE TABLE texts (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
                    until REAL NOT NULL, UNIQUE (kind, name));
CREATE TABLE counts (process INTEGER PRIMARY KEY, at REAL NOT NULL, samples BLOB NOT NULL);
"""


class Notes:
    """The notes in a file that `begin` has made; without one, those of this process alone, in memory.

    It is opened when it is first asked for something, so that a process that was forked has a connection of its own.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @classmethod
    def begin(cls, directory: Path) -> "Notes":
        """Make the file in a directory, instead of the one of the last start."""
        file = directory / FILE
        try:
            for ending in ("", "-wal", "-shm"):
                file.with_name(f"{FILE}{ending}").unlink(missing_ok=True)
            connection = _opened(file)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(_SCHEMA)
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            raise _unavailable(file, error) from None
        return cls(file)

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that no other process or thread comes between; nothing is noted on an error."""
        with self._lock:
            try:
                connection = self._connected()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise _unavailable(self._file, error) from error

    def close(self) -> None:
        """Let go of the file, if it was opened."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _opened(self._file)
            if self._file is None:
                self._connection.executescript(_SCHEMA)
        return self._connection


def _opened(file: Path | None) -> sqlite3.Connection:
    # Of threads, one at a time works with it.
    connection = sqlite3.connect(file or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous=OFF")
    return connection


def _unavailable(file: Path | None, error: Exception) -> Unavailable:
    return Unavailable(f"{file or 'memory'}, the notes of the API processes: {error}", retry_after_s=1)
