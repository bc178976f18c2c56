"""The lease of those who decide: of all panels on one database one at a time has it.

On PostgreSQL it is an advisory lock of a session of its own, which the server ends when its client is gone, cut off or
hangs. The holder asks in short intervals whether it still has it, and takes it for lost before the server can give it
to another. On SQLite it is held by the panel's lock on its files, and never lost.
"""

from typing import Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable

LOOK_S = 0.5  # between two attempts to take it, and between two confirmations
ANSWER_S = 3.0  # a confirmation that takes longer is as good as a loss
END_S = 6.0  # after so long without a word from the holder the server ends its session; more than LOOK_S + ANSWER_S

_LOCK_KEY = 0x77676465  # "wgde", below 2**32: the server shows such a key in one column
SESSION = {
    "idle_session_timeout": f"{END_S:.0f}s",  # a client that hangs; since PostgreSQL 14
    "statement_timeout": f"{ANSWER_S:.0f}s",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": f"{END_S:.0f}s",
}
_HOLDER = """
SELECT activity.application_name FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = %s AND objsubid = 1
AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Lease(Protocol):
    """Who decides. The methods may block for `ANSWER_S` and more, and are called by one thread at a time."""

    holder: str | None
    """Who had it at the last attempt that failed."""

    can_be_lost: bool
    """Whether it has to be confirmed again and again."""

    def take(self) -> bool:
        """Try to get it; raise `Unavailable` where the database cannot be asked."""

    def confirm(self) -> None:
        """Raise `Unavailable` where it is lost."""

    def valid(self) -> bool:
        """Tell from memory whether it is held; may be called by any thread."""

    def release(self) -> None:
        """Give it back; safe to call without having it."""


class HeldByFiles:
    """The lease on SQLite: who runs on the panel's files has it."""

    holder: str | None = None
    can_be_lost = False

    def take(self) -> bool:
        """Say yes."""
        return True

    def confirm(self) -> None:
        """Say nothing."""

    def valid(self) -> bool:
        """Say yes."""
        return True

    def release(self) -> None:
        """Do nothing: the lock ends with the process."""


class DatabaseLease:
    """The lease on PostgreSQL. `name` is shown to those who wait for it."""

    can_be_lost = True

    def __init__(self, engine: Engine, name: str) -> None:
        self.holder: str | None = None
        self._engine = engine
        self._name = name
        self._connection: Any = None
        self._confirmed_at: float | None = None

    def take(self) -> bool:
        """Try to get the lock."""
        began = clock.monotonic()
        if not self._ask("SELECT pg_try_advisory_lock(%s)", _LOCK_KEY):
            self.holder = self._ask(_HOLDER, _LOCK_KEY)
            return False
        self._confirmed_at = began
        return True

    def confirm(self) -> None:
        """Have the server answer in the session that has the lock."""
        if self._connection is None:
            raise Unavailable("the session that held the lease is closed")
        began = clock.monotonic()
        self._ask("SELECT %s::bigint", _LOCK_KEY)
        self._confirmed_at = began

    def valid(self) -> bool:
        """Tell whether it was confirmed a moment ago, so that nobody else can have it."""
        return self._confirmed_at is not None and clock.monotonic() - self._confirmed_at < LOOK_S + ANSWER_S

    def release(self) -> None:
        """End the session, and with it the lock."""
        self._confirmed_at = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, statement: str, key: int) -> Any:
        try:
            if self._connection is None:
                self._connection = self._connected()
            row = self._connection.execute(statement, (key,)).fetchone()
        except (self._engine.dialect.loaded_dbapi.Error, SQLAlchemyError) as error:
            self.release()
            reason = str(error).partition("\n")[0]
            raise Unavailable(f"the lease cannot be asked for ({reason})", retry_after_s=LOOK_S) from error
        return None if row is None else row[0]

    def _connected(self) -> Any:
        connection = self._engine.raw_connection()
        driver: Any = connection.driver_connection
        connection.detach()  # the pool must not get it back
        try:
            driver.autocommit = True
            for name, value in {**SESSION, "application_name": self._name}.items():
                driver.execute("SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s", (value, name))
        except BaseException:
            driver.close()
            raise
        return driver
