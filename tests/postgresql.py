"""A real PostgreSQL server for the length of a test session: on a unix socket, in a temporary folder, gone with it.

Owns the server's process and folder. Must not touch a PostgreSQL that the machine runs already.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType

import psycopg

from tests.markers import require

_START_S = 120  # a busy machine is no fault; pytest has its own limit
# Nothing here outlives the session, so nothing needs to reach the disk.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
}


# What a test must leave as it was for its database to be another's: all but rows. A copy keeps the numbers of objects.
_SHAPE = """
SELECT (SELECT array_agg((oid, relkind, relchecks) ORDER BY oid)::text FROM pg_class WHERE oid >= 16384),
       (SELECT count(*) FROM pg_attribute WHERE attrelid >= 16384 AND NOT attisdropped),
       (SELECT count(*) FROM pg_constraint), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_trigger),
       (SELECT count(*) FROM pg_statistic WHERE starelid >= 16384),
       (SELECT count(*) FROM pg_class WHERE oid >= 16384 AND reltuples >= 0),
       (SELECT count(*) FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
         WHERE datname = current_database())
"""
# The tables that have pages. To ask each for a row takes three times as long.
_FILLED = """
SELECT relname, pg_relation_size(oid) FROM pg_class
 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
   AND pg_relation_size(oid) > 0
"""
_HANG_UP = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_RESTART = "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S' AND oid >= 16384"
_MORE_BYTES = 8 * 1024 * 1024  # a database that has grown by more is dropped
# A table of at most ten pages is as any new one to PostgreSQL. To delete its rows takes a tenth of the time of
# TRUNCATE, which makes its files anew, and those of all tables that refer to it.
_FEW_BYTES = 10 * 8192


class PostgresqlServer:
    """A running server; every database that it hands out is empty, and under a name that no other has had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)
        self._emptied: dict[str, list[str]] = {}  # by template
        self._templates: dict[str, tuple[object, int]] = {}  # shape and size of each
        self._own: psycopg.Connection | None = None

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database; the folder holds the server's socket."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Make a new database like another, give its URL, and drop it whoever is still connected."""
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """Give the URL of a database like another that has tables without rows.

        It is one that was used and emptied, where there is one: to make a database takes ten times as long.
        """
        name = f"test_{next(self._numbers)}"
        if template not in self._templates:
            self._templates[template] = self._measured(template)
        emptied = self._emptied.setdefault(template, [])
        if not (emptied and self._rename(emptied.pop(), name)):
            self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            if self._empty(name, *self._templates[template]):
                emptied.append(name)
            else:
                self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _rename(self, name: str, to: str) -> bool:
        """Have whoever comes back find nothing; drop a database that somebody is at again."""
        try:
            self._run(f"ALTER DATABASE {name} RENAME TO {to}")
        except psycopg.errors.ObjectInUse:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")
            return False
        return True

    def _measured(self, template: str) -> tuple[object, int]:
        with self._connected(template) as connection:
            assert not _filled(connection), "the template has rows"
            return connection.execute(_SHAPE).fetchone(), _size(connection)

    def _empty(self, name: str, shape: object, size: int) -> bool:
        """Remove all rows; tell whether nothing else was changed."""
        with self._connected(name) as connection:
            connection.execute(_HANG_UP)
            if connection.execute(_SHAPE).fetchone() != shape or _size(connection) > size + _MORE_BYTES:
                return False
            filled = _filled(connection)
            if large := [table for table, size in filled.items() if size > _FEW_BYTES]:
                connection.execute(f"TRUNCATE {', '.join(large)} CASCADE".encode())
            connection.execute("SET session_replication_role = replica")  # no foreign key is looked at
            for table in filled.keys() - set(large):
                connection.execute(f"DELETE FROM {table}".encode())  # noqa: S608 - a name out of the database itself
            connection.execute("SELECT pg_stat_reset()")
            connection.execute(_RESTART)
        return True

    def _run(self, statement: str) -> None:
        if self._own is None or self._own.closed:  # a new one costs as much as some statements
            self._own = self._connected("postgres")
        try:
            self._own.execute(statement.encode())
        except psycopg.OperationalError:
            if not self._own.closed:
                raise
            self._own = None  # a test has cut off all that were connected
            self._run(statement)

    def close(self) -> None:
        """Hang up."""
        if self._own is not None:
            self._own.close()

    def _connected(self, name: str) -> psycopg.Connection:
        return psycopg.connect(host=str(self.folder), user="postgres", dbname=name, autocommit=True)


def _filled(connection: psycopg.Connection) -> dict[str, int]:
    """Return the bytes of the tables that have or had rows."""
    return {str(table): int(size) for table, size in connection.execute(_FILLED)}


def _size(connection: psycopg.Connection) -> int:
    found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert found
    return int(found[0])


@contextmanager
def postgresql_server(settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[PostgresqlServer]:
    """Start a server, wait until it answers, and stop it in the end. `settings` go before those of the tests."""
    require("postgresql")
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="wgfleet-postgresql-"))
    # pdeathsig: a killed pytest takes its server along.
    become = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        become += ["--reuid", "postgres", "--regid", str(pwd.getpwnam("postgres").pw_gid), "--init-groups"]
    data, log = folder / "data", folder / "log"
    initdb = [str(programs / "initdb"), "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
    try:
        subprocess.run(
            [*become, *initdb, "--no-sync", str(data)],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_START_S,
        )
        given = {**_SETTINGS, **settings, "unix_socket_directories": folder}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *become,
                    str(programs / "postgres"),
                    "-D",
                    str(data),
                    *(f"--{key}={value}" for key, value in given.items()),
                ],
                cwd=folder,
                stdout=output,
                stderr=output,
            )
        try:
            _wait(folder, process, log)
            with closing(PostgresqlServer(folder)) as server:
                yield server
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: disconnects who is left
            process.wait(_START_S)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """Debian keeps the server's programs out of PATH, a folder per version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if not found:
        raise FileNotFoundError("no PostgreSQL server below /usr/lib/postgresql: run `make test`, which installs it")
    return found[-1].parent


def _wait(folder: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
