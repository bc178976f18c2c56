"""Holds: names that somebody has while working on something, free for all once that process ends, however it does.

They belong to the database: of all processes and panels on it, one at a time has a name. On SQLite a hold is a lock on
one byte of a file beside the database, on PostgreSQL an advisory lock in a session of its own.
"""

import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from wgfleet.panel.errors import Unavailable
from wgfleet.panel.store.failures import translated
from wgfleet.protocol.reasons import Reason

_FLOCK = struct.Struct("hhqqi4x")  # struct flock of fcntl(2), with offsets of 64 bits
_BITS = 31  # of what stands for a name; two names that have it in common keep each other out, which is harmless
_CLASS = 0x77676873  # "wghs"
_TAKE = text("SELECT pg_try_advisory_lock(:class, :number)")
_GIVE_BACK = text("SELECT pg_advisory_unlock(:class, :number)")
_HELD = text("""
SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
AND classid = :class AND objid = :number
AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
""")
_SETTING = text("SELECT set_config(name, :value, false) FROM pg_settings WHERE name = :name")
_SESSION = {  # it may be idle for long; of a machine that is gone the server hears soon
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class Holds(Protocol):
    """The holds of one database."""

    def holding(self, name: str) -> AbstractContextManager[bool]:
        """Have a name for a block, to which it gives False where somebody else has it."""

    def is_held(self, name: str) -> bool:
        """Tell whether somebody has a name now."""


class HoldsByFile:
    """Of an SQLite database. The locks belong to open files (OFD), so that threads of a process keep each other out."""

    def __init__(self, database: Path) -> None:
        self._file = database.with_name(f"{database.name}-held")

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """Have a name for a block."""
        file = self._opened()
        try:
            yield _locked(file, _number(name))
        finally:
            os.close(file)

    def is_held(self, name: str) -> bool:
        """Ask the kernel."""
        file = self._opened()
        try:
            return _asked(file, _number(name)) != fcntl.F_UNLCK
        finally:
            os.close(file)

    def _opened(self) -> int:
        try:
            return os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                Reason("{file}: {error}; try again", file=self._file, error=error.strerror), retry_after_s=1
            ) from error


class HoldsByDatabase:
    """Of a PostgreSQL database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """Have a name for a block, in a session that is nobody else's."""
        with translated():
            connection = self._connected()
        with closing(connection):
            key = {"class": _CLASS, "number": _number(name)}
            with translated():
                had = bool(connection.scalar(_TAKE, key))
            try:
                yield had
            finally:
                if had:  # by itself the server does it a moment after the connection is closed
                    with suppress(DBAPIError):
                        connection.scalar(_GIVE_BACK, key)

    def is_held(self, name: str) -> bool:
        """Ask the server."""
        with translated(), self._engine.connect() as connection:
            return bool(connection.scalar(_HELD, {"class": _CLASS, "number": _number(name)}))

    def _connected(self) -> Connection:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            connection.detach()  # the pool must not get it back, nor wait for it
            for setting, value in _SESSION.items():
                connection.execute(_SETTING, {"name": setting, "value": value})
        except BaseException:
            connection.close()
            raise
        return connection


def _number(name: str) -> int:
    """Return what stands for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) % (1 << _BITS)


def _locked(file: int, at: int) -> bool:
    """Lock a byte if nobody has; tell whether that was so."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0))
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EAGAIN}:
            return False
        raise
    return True


def _asked(file: int, at: int) -> int:
    """Return which lock there is on a byte."""
    found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0))
    return int(_FLOCK.unpack(found)[0])
