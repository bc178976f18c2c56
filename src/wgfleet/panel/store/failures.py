"""Errors of the database, translated: everything that a driver can raise becomes one of the panel's own."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from wgfleet.panel.errors import Conflict, Invalid, Unavailable
from wgfleet.protocol.reasons import Reason

_RETRY_S = 1.0
_OF_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}


@contextmanager
def translated() -> Iterator[None]:
    """Raise the panel's own errors where the database is unavailable, or another writer was faster.

    What is left, such as a wrong statement, is a bug of ours.
    """
    try:
        yield
    except IntegrityError as error:
        # Services look before they write, so this is the loser of a race between two transactions.
        raise Conflict(Reason("somebody else made a change just now that this one clashes with; look again")) from error
    except (OperationalError, InternalError, InterfaceError) as error:
        # InternalError: PostgreSQL is read-only while its primaries are switched.
        reason = str(error.orig).splitlines()[0] if str(error.orig) else "no answer"
        told = Reason("the database cannot be used just now ({reason}); try again", reason=reason)
        if _primary_code(error.orig) in _OF_DISK:
            told = Reason(
                "the database cannot be used just now ({reason}): see whether its disk is full, or can only be read; "
                "then try again",
                reason=reason,
            )
        raise Unavailable(told, retry_after_s=_RETRY_S) from error
    except NoConnectionLeft as error:
        raise Unavailable(
            Reason("all connections to the database are in use; try again"), retry_after_s=_RETRY_S
        ) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable(
                Reason("the connection to the database was lost; try again"), retry_after_s=_RETRY_S
            ) from error
        if isinstance(error, DataError):
            raise _out_of_range() from error
        if is_damage(error.orig):
            raise Unavailable(
                Reason(
                    "the database is damaged ({error}); stop the panel, keep the file, put the newest copy "
                    "in its place, and run: wgfleet panel restored",
                    error=error.orig,
                )
            ) from error
        raise
    except OverflowError as error:  # SQLite's driver, of an integer beyond 64 bits
        raise _out_of_range() from error


def is_damage(error: BaseException | None) -> bool:
    """Say whether SQLite found no database in the file, or a broken one."""
    return _primary_code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _primary_code(error: BaseException | None) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # the rest says where it was found


def _out_of_range() -> Invalid:
    return Invalid(Reason("a value is beyond what the database can keep"))
