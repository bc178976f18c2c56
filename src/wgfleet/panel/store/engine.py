"""Transactions, for SQLite (WAL, one writer) and PostgreSQL alike.

A `Tx` collects its wakes; listeners get them after the commit, never before.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.store import checkpoints, local_transport, notifications
from wgfleet.panel.store.databases import CONNECTIONS, open_database, sqlite_file
from wgfleet.panel.store.exchange import MAX_BYTES, Exchange, Listeners, Transport
from wgfleet.panel.store.failures import translated
from wgfleet.panel.store.holds import Holds, HoldsByDatabase, HoldsByFile
from wgfleet.panel.store.lease import DatabaseLease, HeldByFiles, Lease
from wgfleet.panel.store.local_transport import LocalTransport
from wgfleet.panel.store.notifications import Notifications
from wgfleet.panel.store.turns import WriterTurns
from wgfleet.panel.store.wakes import Topic, Wake
from wgfleet.protocol.reasons import Reason

REPORT_BYTES = MAX_BYTES - 100
_REHEARSED = ContextVar("rehearsed", default=False)


class Tx:
    """One open transaction. `session` and `connection` are for repositories only."""

    def __init__(self, connection: Connection, session: Session | None = None) -> None:
        self.connection = connection
        self._session = session
        self.writes = session is not None
        """Whether it may write, and so lock rows."""
        self.wakes: dict[Wake, None] = {}
        self.locked: set[str] = set()
        """The configs that it has locked, by id."""
        self.raised: dict[str, tuple[int, bool]] = {}
        """Those whose generation it has raised: to which, and whether settings changed too."""

    @property
    def session(self) -> Session:
        """The session, made when it is first asked for: what reads rows without objects is spared it."""
        if self._session is None:
            self._session = Session(self.connection, expire_on_commit=False, autoflush=False)
        return self._session

    def close(self) -> None:
        """Let go of the session, if there is one."""
        if self._session is not None:
            self._session.close()

    def wake(self, topic: Topic, identifier: str, *, kind: OperationKind | None = None) -> None:
        """Notify listeners once this transaction is committed. `kind` is that of an operation, for its topic."""
        self.wakes[Wake(topic, identifier, kind)] = None

    def flush(self) -> None:
        """Write the changes of rows now, so that statements which follow find them."""
        self.session.flush()

    def settle(self) -> None:
        """As `flush`, for statements that go past the session: without one there is nothing to write."""
        if self._session is not None:
            self._session.flush()

    def refresh(self, row: object) -> None:
        """Read a row again: it was changed by a statement, or may have been by others before it was locked."""
        self.session.refresh(row)


class Store:
    """Owns the engine. `url` is an SQLAlchemy URL: `sqlite:///path` or `postgresql+psycopg://...`.

    `connections`: there are at most.
    """

    def __init__(self, url: str, connections: int = CONNECTIONS) -> None:
        self.engine = open_database(url, connections)
        self._closed = False
        event.listen(self.engine, "checkin", self._returned)
        self._file = sqlite_file(url)
        self._turns = None if self._file is None else WriterTurns(self._file)
        self._holds: Holds = HoldsByDatabase(self.engine) if self._file is None else HoldsByFile(self._file)
        self._listeners = Listeners()
        self._exchange: Exchange | None = None
        self._permitted: Callable[[], bool] | None = None

    def share(self, label: str = "") -> None:
        """Tell the other processes that use this database what is committed here, and hear the same of them.

        `label` (up to 63 bytes, no slash) is what `labels` says of this process. Raise `Unavailable` where that cannot
        be set up.
        """
        if self._exchange is None:
            self._exchange = Exchange(self._transport(label), self._listeners)

    def labels(self) -> list[str]:
        """Return the labels of all processes that share this database now, "" of those without one."""
        with translated():
            return notifications.labels(self.engine) if self._file is None else local_transport.labels(self._sockets)

    def lease(self, name: str) -> Lease:
        """Return the lease of those who decide on this database; `name` says who asks."""
        return HeldByFiles() if self._turns else DatabaseLease(self.engine, name)

    def holding(self, name: str) -> AbstractContextManager[bool]:
        """Have a name for a block, as long as this process lives; the block gets False where somebody else has it."""
        return self._holds.holding(name)

    def is_held(self, name: str) -> bool:
        """Tell whether somebody who lives has a name."""
        return self._holds.is_held(name)

    def write_only_while(self, permitted: Callable[[], bool]) -> None:
        """From now on begin and commit a transaction that writes only where `permitted` says so."""
        self._permitted = permitted

    def _check_permission(self) -> None:
        if self._permitted is not None and not self._permitted():
            raise Unavailable(Reason("another panel may decide by now, and this one no longer does"), retry_after_s=1)

    def listen(self, listener: Callable[[list[Wake]], None], lost: Callable[[], None] | None = None) -> None:
        """Call `listener` with the wakes of each transaction, in any thread: the one that committed it, or ours.

        `lost` is called where wakes of other processes may have been lost.
        """
        self._listeners.committed.append(listener)
        if lost is not None:
            self._listeners.lost.append(lost)

    def hear_reports(self, listener: Callable[[str, bytes], None]) -> None:
        """Call `listener` with the name of another process that shares, and what it reports, in a thread of ours."""
        self._listeners.reported.append(listener)

    def report(self, report: bytes) -> None:
        """Send JSON of `REPORT_BYTES` at most to all other processes; without effect where nothing is shared."""
        if self._exchange is not None:
            self._exchange.report(report)

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """Open a transaction that sees one state of the database and changes nothing."""
        with translated(), self.engine.connect() as connection:
            if self._turns is None:
                # Otherwise each statement sees a state of its own, but a delta must be read from one.
                connection.execution_options(isolation_level="REPEATABLE READ")
            with closing(Tx(connection)) as tx:
                yield tx

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """Open a transaction that commits at the end of the block, or changes nothing on an error."""
        self._check_permission()
        with translated(), self._turns.turn() if self._turns else nullcontext():
            options = {"wgfleet_write": True}
            with Session(self.engine, expire_on_commit=False) as session, session.begin() as transaction:
                tx = Tx(session.connection(execution_options=options), session)
                yield tx
                self._check_permission()
                if _REHEARSED.get():
                    tx.flush()
                    transaction.rollback()
                    return
        wakes = list(tx.wakes)
        if wakes:
            self._listeners.hear(wakes)
            if self._exchange is not None:
                self._exchange.tell(wakes)

    @contextmanager
    def rehearsing(self) -> Iterator[None]:
        """Have nothing stay of the transactions that this thread opens meanwhile, each of which goes by itself."""
        before = _REHEARSED.set(True)
        try:
            yield
        finally:
            _REHEARSED.reset(before)

    def checkpoint(self) -> None:
        """Have what was written stand in the file of an SQLite database, and not in its journal alone.

        Without effect elsewhere. Raise `Unavailable` where that cannot be done now.
        """
        if self._turns is not None:
            with translated():
                checkpoints.make(self.engine, self._turns)

    def _returned(self, _connection: object, record: ConnectionPoolEntry) -> None:
        # One that a thread still had when all were closed would be open until it is collected.
        if self._closed:
            record.invalidate()

    def close(self) -> None:
        """Close all connections, those in use as soon as they are free; safe to call twice."""
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None
        self._closed = True
        self.engine.dispose()
        if self._turns:
            self._turns.close()

    @property
    def _sockets(self) -> Path:
        file = self._file or Path()
        return file.with_name(f"{file.name}-exchange")

    def _transport(self, label: str) -> Transport:
        if self._file is None:
            return Notifications(self.engine, label)
        try:
            return LocalTransport(self._sockets, label)
        except OSError as error:
            raise Unavailable(
                Reason("{file}: {error}", file=error.filename or self._file, error=error.strerror), retry_after_s=1
            ) from error
