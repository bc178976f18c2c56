"""SQLite databases that another program may have open: read from a copy, with the log beside it."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from wgfleet.imports.fleet import UnreadableError

Row = dict[str, Any]
_NAME = '"{}"'


class Database:
    """Tables, read by the names of their columns: what a version lacks is absent, what is new is not looked at."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

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
        return [dict(zip(names, row, strict=True)) for row in cursor]


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    """Open a copy of a database. Raise `UnreadableError`."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            copy = Path(shutil.copy(path, folder))
            for ending in ("-wal", "-shm"):
                if (beside := path.with_name(path.name + ending)).exists():
                    shutil.copy(beside, folder)
        except OSError as error:
            raise UnreadableError(f"{path}: {error.strerror or error}") from None
        try:
            with closing(sqlite3.connect(copy)) as connection:
                connection.execute("PRAGMA query_only = ON")
                yield Database(connection)
        except sqlite3.DatabaseError as error:
            raise UnreadableError(f"{path}: is no SQLite database that can be read: {error}") from None


def found_in(path: Path, *names: str) -> Path:
    """Return the file: the path itself, or the first of the names below a folder. Raise `UnreadableError`."""
    if not path.is_dir():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    raise UnreadableError(f"{path}: has no {' and no '.join(names)}")
