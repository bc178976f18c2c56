"""The two databases as engines, each with a limit on everything that can be waited for."""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select

from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable
from wgfleet.protocol.reasons import Reason

SQLITE_BUSY_S = 10  # another process (a backup, a shell) may hold the file; longer is an outage that we report
WAL_RETRY_S = 0.01

# Of each connection. What it does not find there it reads from the system's cache of the file, in microseconds; with
# 32 MB, those of a core with 200 nodes had 400 MB in all, mostly the same pages.
CACHE_KB = 4096

# In the journal before a transaction sees to it by itself (64 MB). The core of a panel does far sooner.
JOURNAL_PAGES = 16_384

CONNECTIONS = 40  # of a core at most, and of all processes of an API together; a server of PostgreSQL has 100
LEAST_CONNECTIONS = 4
POOL_S = 10.0  # to wait for one

CONNECT_S = 5
KEEPALIVE_S = 5
LOCK_S = 10.0  # what others hold (a shell, a backup) for longer is an outage that we report
STATEMENT_S = 30.0  # the longest of ours reads a config of 100,000 peers
IDLE_S = 60.0  # in a transaction: a process that hangs must not keep its locks


def open_database(url: str, connections: int = CONNECTIONS) -> Engine:
    """Return an engine for an SQLAlchemy URL: `sqlite:///path` or `postgresql+psycopg://...`. Connects later.

    `connections`: there are at most.
    """
    most = max(connections, LEAST_CONNECTIONS)
    return _sqlite(url, most) if url.startswith("sqlite") else _postgresql(url, most)


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database; None for PostgreSQL."""
    parts = make_url(url)
    return Path(parts.database or "") if parts.get_backend_name() == "sqlite" else None


def _sqlite(url: str, connections: int) -> Engine:
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_S}, **_pool(connections))

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: we choose between BEGIN and BEGIN IMMEDIATE below.
        connection.isolation_level = None
        cursor = connection.cursor()
        _write_ahead(cursor)
        # FULL: what was answered survives a power cut too.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA cache_size=-{CACHE_KB}")
        cursor.execute(f"PRAGMA wal_autocheckpoint={JOURNAL_PAGES}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        write = connection.get_execution_options().get("wgfleet_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Put the database into WAL mode, which the file keeps; wait for others that are at it for `SQLITE_BUSY_S`."""
    deadline = clock.monotonic() + SQLITE_BUSY_S
    while not _is_write_ahead(cursor):
        if clock.monotonic() > deadline:
            raise Unavailable(
                Reason("another process keeps the database from its WAL mode; try again"), retry_after_s=1
            )
        time.sleep(WAL_RETRY_S)


def _is_write_ahead(cursor: sqlite3.Cursor) -> bool:
    # The change from a rollback journal takes an exclusive lock without asking the busy handler, so of two
    # processes that meet a new file at once one is refused on the spot.
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    return True


def _postgresql(url: str, connections: int) -> Engine:
    engine = create_engine(
        url,
        pool_pre_ping=True,
        # libpq's, in whole seconds: a host that is gone must not be waited for as long as TCP would, which is minutes.
        connect_args={
            "connect_timeout": CONNECT_S,
            "keepalives_idle": KEEPALIVE_S,
            "keepalives_interval": KEEPALIVE_S,
            "keepalives_count": 3,
            "tcp_user_timeout": int(1000 * LOCK_S),
        },
        **_pool(connections),
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        try:
            _set_limits(connection)
        except BaseException:
            connection.close()  # the pool does not know it yet
            raise

    return engine


def _postgresql_limits() -> dict[str, float]:
    return {
        "lock_timeout": LOCK_S,
        "statement_timeout": STATEMENT_S,
        "idle_in_transaction_session_timeout": IDLE_S,
    }


def _set_limits(connection: Any) -> None:
    with connection.cursor() as cursor:
        for name, seconds in _postgresql_limits().items():
            # Only where the server, the database, the role or the URL does not say something else.
            cursor.execute(
                "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s AND setting = '0'",
                (f"{int(1000 * seconds)}ms", name),
            )
    connection.commit()


def without_limits(connection: Connection) -> None:
    """Let the statements of this transaction take their time, as a migration does."""
    if connection.dialect.name == "postgresql":
        for name in _postgresql_limits():
            connection.execute(select(func.set_config(name, "0", True)))


_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def _read_json(text: str | bytes) -> Any:
    """Read a column of JSON: a list of nodes has hundreds, and the standard library takes ten times as long."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError:
        return json.loads(text)  # what is no strict JSON was written by a release that knew no better


def _pool(connections: int) -> dict[str, Any]:
    # Without parameters in errors and logs: among them are digests, keys and names.
    # The last that was given back comes first: as few as work beside each other have memory and a session in use.
    return {
        "json_deserializer": _read_json,
        "pool_size": connections // 2,
        "max_overflow": connections - connections // 2,
        "pool_timeout": POOL_S,
        "pool_use_lifo": True,
        "hide_parameters": True,
    }
