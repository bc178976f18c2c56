"""Transport of messages between processes that share a PostgreSQL database: its notifications.

See https://www.postgresql.org/docs/current/sql-notify.html.
"""

from collections import deque
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from wgfleet.panel.store.exchange import TransportError

CHANNEL = "wgfleet"
LABEL_BYTES = 63  # the server cuts off what is longer
_LISTEN = f"LISTEN {CHANNEL}"


class Notifications:
    """Two connections of their own, made when they are needed, and again when they were lost.

    The one that listens has `label` as its name at the server.
    """

    def __init__(self, engine: Engine, label: str) -> None:
        self._engine = engine
        self._label = label
        self._sender: Any = None
        self._receiver: Any = None
        self._received: deque[bytes] = deque()

    def send(self, message: bytes) -> None:
        """Notify all others, and ourselves."""
        if not message:
            return
        try:
            self._sender = self._sender or self._connected()
            self._sender.execute("SELECT pg_notify(%s, %s)", (CHANNEL, message.decode()))
        except (self._engine.dialect.loaded_dbapi.Error, SQLAlchemyError) as error:
            self.stop_sending()
            raise TransportError(str(error).partition("\n")[0]) from error

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next notification."""
        try:
            if self._receiver is None:
                self._receiver = self._connected()
                self._receiver.execute("SELECT set_config('application_name', %s, false)", (self._label,))
                self._receiver.execute(_LISTEN)
            if not self._received:
                found = self._receiver.notifies(timeout=timeout_s, stop_after=1)
                self._received.extend(notice.payload.encode() for notice in found)
        except (self._engine.dialect.loaded_dbapi.Error, SQLAlchemyError) as error:
            self.stop_receiving()
            raise TransportError(str(error).partition("\n")[0]) from error
        return self._received.popleft() if self._received else None

    def stop_sending(self) -> None:
        """Close the connection that sends."""
        if self._sender is not None:
            self._sender.close()
        self._sender = None

    def stop_receiving(self) -> None:
        """Close the connection that listens."""
        if self._receiver is not None:
            self._receiver.close()
        self._receiver = None

    def _connected(self) -> Any:
        # The engine's own way to connect has the time-outs; the pool must not get the connection back.
        connection = self._engine.raw_connection()
        driver: Any = connection.driver_connection
        connection.detach()
        driver.autocommit = True
        return driver


def labels(engine: Engine) -> list[str]:
    """Return the labels of the processes that listen now; "" for one of an earlier release."""
    listening = text(
        "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND query = :listen"
    )
    with engine.connect() as connection:
        return list(connection.scalars(listening, {"listen": _LISTEN}))
