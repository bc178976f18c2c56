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
from contextlib import contextmanager
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
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
}


class PostgresqlServer:
    """A running server; every database that it hands out is new and empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)

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

    def _run(self, statement: str) -> None:
        with psycopg.connect(host=str(self.folder), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())


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
            yield PostgresqlServer(folder)
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
