"""The schema of this program, to which a database is brought: a new one at once, an older one by alembic's revisions.

Owns the migration's transaction and its lock. Must not know what the tables mean. `script/migration` writes revisions.
Alembic is loaded where there is something to migrate: most starts of a panel find nothing to do.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, func, inspect, select, text

from wgfleet.panel.errors import PermanentError
from wgfleet.panel.store import beside_tables
from wgfleet.panel.store.databases import without_limits
from wgfleet.panel.store.engine import Store
from wgfleet.panel.store.failures import translated
from wgfleet.panel.store.tables import Base

NEWEST = "0086"
"""The last revision of this program."""

_VERSION_TABLE = """
CREATE TABLE alembic_version (
  version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)
"""  # as alembic makes it
_LOCK_KEY = 0x77676673636865  # "wgfsche"; advisory locks of one database share their numbers
log = structlog.get_logger()
# alembic keeps its context in module globals: one migration at a time in a process.
_alembic = threading.Lock()


def migrate(store: Store) -> None:
    """Bring the database to the newest revision, in one transaction.

    Processes that start at once wait for each other, and the later ones find nothing to do. A SQLite database is copied
    beside itself first (`copy_to`), since no revision leads back. Raises `PermanentError` where a newer program has
    been at the database, `Unavailable` where it cannot be had.
    """
    with translated(), _alembic:
        if not _is_due(store):
            return  # to look for broken references takes half a second at 200,000 peers, and all who write wait for it
        _keep_copy(store)
    with translated(), _alembic, _exclusive(store) as connection:
        revision = _revision(connection)
        if revision is None:
            _make(connection)
        elif revision != NEWEST:
            from wgfleet.panel.store import revisions  # noqa: PLC0415 - as above

            revisions.refuse_unknown(revision)
            revisions.upgrade(connection)


def migrate_by_revisions(store: Store) -> None:
    """Bring a new database to the newest revision by way of all others, for those who write revisions or test them."""
    from wgfleet.panel.store import revisions  # noqa: PLC0415 - as above

    with translated(), _alembic, _exclusive(store) as connection:
        revisions.upgrade(connection)


def has_been_used(store: Store) -> bool:
    """Say whether a panel has been at the database; a file that is not there is not made. Raises `Unavailable`."""
    file = store.engine.url.database
    if store.engine.dialect.name == "sqlite" and (file is None or not Path(file).exists()):
        return False
    with translated(), store.engine.connect() as connection:
        return _revision(connection) is not None


def _revision(connection: Connection) -> str | None:
    """Return the revision of a database; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is None:
        raise PermanentError(
            "the database does not say of which revision it is (table alembic_version is empty): restore a copy of it, "
            "or give the panel an empty one"
        )
    return str(found)


def copy_to(store: Store, target: Path) -> None:
    """Copy a SQLite database as it is at one moment, whatever is written meanwhile; `target` must not exist.

    It is there when it is whole, and on the disk. Raises `PermanentError`.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    with store.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        try:
            if os.path.lexists(target):
                raise PermanentError(f"the database cannot be copied to {target}: it exists")
            driver.execute("VACUUM INTO ?", (str(draft),))
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            draft.rename(target)
        except (sqlite3.Error, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise PermanentError(f"the database cannot be copied to {target}: {reason}") from None
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _make(connection: Connection) -> None:
    """Make everything in an empty database: by way of all revisions a first start would take half a second longer."""
    Base.metadata.create_all(connection, checkfirst=False)
    for statement in beside_tables.STATEMENTS[connection.dialect.name]:
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(_VERSION_TABLE)
    connection.execute(text("INSERT INTO alembic_version VALUES (:newest)"), {"newest": NEWEST})


def _is_due(store: Store) -> bool:
    with store.engine.connect() as connection:
        return _revision(connection) != NEWEST


def _keep_copy(store: Store) -> None:
    """Copy a database of an earlier revision, if it is a file."""
    with store.engine.connect() as connection:
        revision = _revision(connection)
        file = connection.engine.url.database
        if connection.dialect.name != "sqlite":
            file = None
    if revision is None or revision == NEWEST:
        return
    from wgfleet.panel.store import revisions  # noqa: PLC0415 - alembic, which most starts do not need

    revisions.refuse_unknown(revision)
    if file in {None, "", ":memory:"}:
        log.warning("schema.no_copy", revision=revision, reason="no revision leads back; keep a dump of the database")
        return
    target = Path(f"{file}.before-upgrade-from-{revision}")
    partial = target.with_name(target.name + ".new")
    partial.unlink(missing_ok=True)
    copy_to(store, partial)
    partial.replace(target)
    log.info("schema.copied", revision=revision, copy=str(target))


@contextmanager
def _exclusive(store: Store) -> Iterator[Connection]:
    """Open a transaction beside which no other migration runs."""
    # SQLite begins with BEGIN IMMEDIATE: the file's one write lock is ours at once.
    with store.engine.connect().execution_options(wgfleet_write=True) as connection:
        if connection.dialect.name == "sqlite":
            with _without_foreign_keys(connection), connection.begin():
                yield connection
                if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise PermanentError(f"the migration would leave table {broken[0]} with a reference to nothing")
        else:
            with connection.begin():
                without_limits(connection)
                # Released by the server at the end of the transaction, however it ends.
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))
                yield connection


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """Keep the copy of a table, which drops the old one, from deleting all that refers to it.

    The setting changes outside of transactions only, hence on the driver's connection.
    See https://www.sqlite.org/lang_altertable.html#otheralter.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")
