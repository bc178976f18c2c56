"""Transactions, for SQLite (WAL, one writer) and PostgreSQL alike.

A `Tx` collects its wakes; listeners get them after the commit, never before.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.store.databases import open_database
from wgfleet.panel.store.failures import translated
from wgfleet.panel.store.wakes import Topic, Wake

WRITER_S = 10.0  # a transaction of ours takes milliseconds, the largest a second; beyond this something hangs


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
        self.engine = open_database(url)
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
            if self._writer and not self._writer.acquire(timeout=WRITER_S):
                raise Unavailable("another transaction does not end; try again", retry_after_s=1)
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
