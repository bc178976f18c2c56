"""Connections and transactions, for SQLite (WAL, one writer) and PostgreSQL alike.

A `Tx` collects its wakes; listeners get them after the commit, never before.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from wgfleet.panel import clock
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.errors import Conflict, Unavailable
from wgfleet.panel.store.wakes import Topic, Wake

SQLITE_BUSY_S = 10  # another process (a backup, a shell) may hold the file; longer is an outage that we report
WAL_RETRY_S = 0.01
POOL_SIZE = 20


class Tx:
    """One open transaction. `session` is for repositories only."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.wakes: dict[Wake, None] = {}

    def wake(self, topic: Topic, identifier: str, *, kind: OperationKind | None = None) -> None:
        """Notify listeners once this transaction is committed. `kind` is that of an operation, for its topic."""
        self.wakes[Wake(topic, identifier, kind)] = None

    def flush(self) -> None:
        """Write the changes of rows now, so that statements which follow find them."""
        self.session.flush()

    def refresh(self, row: object) -> None:
        """Read a row again: it was changed by a statement, or may have been by others before it was locked."""
        self.session.refresh(row)


class Store:
    """Owns the engine. `url` is an SQLAlchemy URL: `sqlite:///path` or `postgresql+psycopg://...`."""

    def __init__(self, url: str) -> None:
        self.engine = _sqlite(url) if url.startswith("sqlite") else _postgresql(url)
        # SQLite polls for its lock, which starves a waiter under load; a lock of ours is fair and costs nothing.
        self._writer = threading.Lock() if url.startswith("sqlite") else None
        self._listeners: list[Callable[[list[Wake]], None]] = []

    def listen(self, listener: Callable[[list[Wake]], None]) -> None:
        """Call `listener` with the wakes of each transaction, in the thread that committed it."""
        self._listeners.append(listener)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Open a transaction that sees one state of the database and changes nothing."""
        with translated(), Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            if self._writer is None:
                # Otherwise each statement sees a state of its own, but a delta must be read from one.
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield Tx(session)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """Open a transaction that commits at the end of the block, or changes nothing on an error."""
        with translated():
            if self._writer:
                self._writer.acquire()
            try:
                options = {"wgfleet_write": True}
                with Session(self.engine, expire_on_commit=False) as session, session.begin():
                    session.connection(execution_options=options)
                    tx = Tx(session)
                    yield tx
            finally:
                if self._writer:
                    self._writer.release()
        wakes = list(tx.wakes)
        if wakes:
            for listener in self._listeners:
                listener(wakes)

    def close(self) -> None:
        """Close all connections; safe to call twice."""
        self.engine.dispose()


@contextmanager
def translated() -> Iterator[None]:
    """Raise the panel's own errors where the database is unavailable, or another writer was faster."""
    try:
        yield
    except OperationalError as error:
        reason = str(error.orig).splitlines()[0] if error.orig else "no answer"
        raise Unavailable(f"the database cannot be used just now ({reason}); try again", retry_after_s=1) from error
    except IntegrityError as error:
        # Services look before they write, so this is the loser of a race between two transactions.
        raise Conflict("somebody else made a change just now that this one clashes with; look again") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable("the connection to the database was lost; try again", retry_after_s=1) from error
        raise


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, connect_args={"timeout": SQLITE_BUSY_S})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: we choose between BEGIN and BEGIN IMMEDIATE below.
        connection.isolation_level = None
        cursor = connection.cursor()
        _write_ahead(cursor)
        # FULL: what was answered survives a power cut too.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-32768")
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
            raise Unavailable("another process keeps the database from its WAL mode; try again", retry_after_s=1)
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


def _postgresql(url: str) -> Engine:
    return create_engine(url, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, pool_pre_ping=True)
