"""Notes that the API processes of one panel share: what each must know of the others, and no start of the panel keeps.

They are an SQLite file of their own, made again at each start, which waits for no disk. A process that is killed leaves
it whole. What is secret is sealed before it is noted. Where the file is damaged, or gone, there are new ones at once:
what was noted is forgotten, as at a start, instead of keeping everybody from signing in.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from wgfleet.panel.errors import Unavailable
from wgfleet.panel.store.failures import is_damage

FILE = "api-notes.sqlite"
BUSY_S = 5.0  # for others, whose changes take far less than a millisecond
_TABLES = {"attempts", "texts", "counts"}
_SCHEMA = """
CREATE TABLE attempts (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, source TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX attempts_of_source ON attempts (kind, source, at);
CREATE INDEX attempts_of_kind ON attempts (kind, number);
CREATE TABLE texts (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
                    until REAL NOT NULL, UNIQUE (kind, name));
CREATE TABLE counts (process INTEGER PRIMARY KEY, at REAL NOT NULL, samples BLOB NOT NULL);
"""

log = structlog.get_logger()


class Notes:
    """The notes in a file that `begin` has made; without one, those of this process alone, in memory.

    It is opened when it is first asked for something, so that a process that was forked has a connection of its own.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._broken = False  # it failed, and is looked at before it is used again
        self._is = 0  # the inode of the file that is open

    @classmethod
    def begin(cls, directory: Path) -> "Notes":
        """Make the file in a directory, instead of the one of the last start."""
        file = directory / FILE
        try:
            _make(file)
        except (OSError, sqlite3.Error) as error:
            raise _unavailable(file, error) from None
        return cls(file)

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that no other process or thread comes between; nothing is noted on an error."""
        with self._lock:
            try:
                connection = self._begun()
            except (OSError, sqlite3.Error) as error:
                raise _unavailable(self._file, error) from error
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                self._broken = _is_damage(error)
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise _unavailable(self._file, error) from error
                raise

    def close(self) -> None:
        """Let go of the file, if it was opened."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begun(self) -> sqlite3.Connection:
        """Open a transaction in notes that are whole, those that are there or new ones."""
        if self._file is not None and (self._broken or not self._is_there(self._file)):
            self._heal(self._file)
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if self._file is None or not _is_damage(error):
                raise
            self._heal(self._file)
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
        return connection

    def _is_there(self, file: Path) -> bool:
        """Tell whether the file is still the one that is open; with none open, whether there is one."""
        try:
            found = file.stat().st_ino
        except FileNotFoundError:
            return False
        return self._connection is None or found == self._is

    def _heal(self, file: Path) -> None:
        """Open the notes again, new ones where those that are there are damaged; one process at a time."""
        self._let_go()
        directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            if not _is_whole(file):
                log.warning("notes.made_again", file=str(file))
                _make(file)
        finally:
            os.close(directory)
        self._broken = False

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _opened(self._file)
            if self._file is None:
                self._connection.executescript(_SCHEMA)
            else:
                self._is = self._file.stat().st_ino
        return self._connection


def _make(file: Path) -> None:
    """Make the file, instead of one that is there."""
    for ending in ("", "-wal", "-shm"):
        file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)
    connection = _opened(file)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_SCHEMA)
    finally:
        connection.close()


def _is_whole(file: Path) -> bool:
    if not file.exists():
        return False
    try:
        with contextlib.closing(_opened(file)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            return tables >= _TABLES and connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except sqlite3.Error as error:
        if not _is_damage(error):
            raise
        return False


def _is_damage(error: BaseException) -> bool:
    return is_damage(error) or getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_ERROR  # no such table


def _opened(file: Path | None) -> sqlite3.Connection:
    # Of threads, one at a time works with it.
    connection = sqlite3.connect(file or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def _unavailable(file: Path | None, error: Exception) -> Unavailable:
    return Unavailable(f"{file or 'memory'}, the notes of the API processes: {error}", retry_after_s=1)
