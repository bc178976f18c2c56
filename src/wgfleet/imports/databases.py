"""SQLite databases that another program may have open: read from a copy, with the log or the journal beside it."""

import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from wgfleet.imports.fleet import UnreadableError
from wgfleet.protocol.reasons import Reason

Row = dict[str, Any]
MAX_BYTES = 4 * 1024**3
MAX_VALUE = 16 * 1024 * 1024  # bytes of one value
MAX_ROWS = 200_000
TRIES, AGAIN_S = 20, 0.1
_NAME = '"{}"'
_UNDONE = ("-wal", "-journal")
_BESIDE = (*_UNDONE, "-shm")


class Database:
    """Tables, read by the names of their columns: what a version lacks is absent, what is new is not looked at."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    def tables(self) -> list[str]:
        """Return the names of all tables."""
        return [row[0] for row in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]

    def rows(self, table: str) -> list[Row]:
        """Return the rows of a table; none where there is no such table."""
        if table not in self.tables():
            return []
        quoted = _NAME.format(table.replace('"', '""'))
        cursor = self._connection.execute(f"SELECT * FROM {quoted}")  # noqa: S608 - a name out of the database itself
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(MAX_ROWS + 1)]
        if len(found) > MAX_ROWS:
            raise UnreadableError(Reason("the table {table} has more than {most} rows", table=table, most=MAX_ROWS))
        return found

    def needed(self, table: str) -> list[Row]:
        """Return the rows of a table that must be there. Raise `UnreadableError`."""
        if table not in self.tables():
            raise UnreadableError(
                Reason("{path}: has no table {table}, so it is of another program", path=self._path, table=table)
            )
        return self.rows(table)


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    """Open a copy of a database. Raise `UnreadableError`."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            copy = _copied(path, Path(folder))
        except OSError as error:
            raise UnreadableError(f"{path}: {error.strerror or error}") from None
        try:
            with closing(sqlite3.connect(copy)) as connection:
                connection.execute("PRAGMA query_only = ON")
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
                connection.text_factory = lambda raw: raw.decode(errors="replace")
                yield Database(connection, path)
        except sqlite3.DatabaseError as error:
            raise UnreadableError(
                Reason("{path}: is no SQLite database that can be read: {error}", path=path, error=error)
            ) from None


def _copied(path: Path, folder: Path) -> Path:
    """Copy a database as it is between two changes of its program. Raise `OSError`, `UnreadableError`."""
    for _ in range(TRIES):
        before = _standing(path)
        copy = Path(shutil.copy(path, folder))
        for ending in _BESIDE:
            (folder / (path.name + ending)).unlink(missing_ok=True)
            if (beside := path.with_name(path.name + ending)).exists():
                _check(beside)
                with suppress(FileNotFoundError):  # it has just ended; the next try sees that
                    shutil.copy(beside, folder)
        if _standing(path) == before:
            return copy
        time.sleep(AGAIN_S)
    raise UnreadableError(Reason("{path}: is changed all the time; stop its program, or give a copy", path=path))


def _standing(path: Path) -> list[tuple[int, int] | None]:
    """Return sizes and times of a database and of what undoes or ends its changes; refuse an empty one."""
    _check(path)
    found: list[tuple[int, int] | None] = []
    for each in (path, *(path.with_name(path.name + ending) for ending in _UNDONE)):
        try:
            about = each.stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((about.st_size, about.st_mtime_ns))
    if found[0] is not None and not found[0][0] and found[1] is None:
        raise UnreadableError(Reason("{path}: is empty", path=path))
    return found


def _check(path: Path) -> None:
    """Refuse what is no file, such as a device that never ends. Raise `OSError`, `UnreadableError`."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise UnreadableError(Reason("{path}: is no file", path=path))
    if about.st_size > MAX_BYTES:
        raise UnreadableError(
            Reason("{path}: larger than {most} GiB, which no such database is", path=path, most=MAX_BYTES // 1024**3)
        )


def found_in(path: Path, *names: str) -> Path:
    """Return the file: the path itself, or the first of the names below a folder. Raise `UnreadableError`."""
    if not path.is_dir():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    raise UnreadableError(Reason("{path}: has no {names}", path=path, names=" and no ".join(names)))
