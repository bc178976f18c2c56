"""The schema of this program, to which a database is brought: a new one at once, an older one by alembic's revisions.

Owns the migration's transaction and its lock. Must not know what the tables mean. `script/migration` writes revisions.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, func, select

from wgfleet.panel.errors import PermanentError
from wgfleet.panel.store import beside_tables
from wgfleet.panel.store.databases import without_limits
from wgfleet.panel.store.engine import Store
from wgfleet.panel.store.failures import translated
from wgfleet.panel.store.tables import Base

MIGRATIONS = Path(__file__).parent / "migrations"

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
        _keep_copy(store)
    with translated(), _alembic, _exclusive(store) as connection:
        revision = _known_revision(connection)
        if revision is None:
            _make(connection)
        elif revision != _scripts().get_current_head():
            command.upgrade(configuration(connection), "head")


def migrate_by_revisions(store: Store) -> None:
    """Bring a new database to the newest revision by way of all others, for those who write revisions or test them."""
    with translated(), _alembic, _exclusive(store) as connection:
        command.upgrade(configuration(connection), "head")


def has_been_used(store: Store) -> bool:
    """Say whether a panel has been at the database; a file that is not there is not made. Raises `Unavailable`."""
    file = store.engine.url.database
    if store.engine.dialect.name == "sqlite" and (file is None or not Path(file).exists()):
        return False
    with translated(), store.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() is not None


def copy_to(store: Store, target: Path) -> None:
    """Copy a SQLite database as it is at one moment, whatever is written meanwhile; `target` must not exist.

    Raises `PermanentError`.
    """
    with store.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        try:
            driver.execute("VACUUM INTO ?", (str(target),))
        except sqlite3.Error as error:
            raise PermanentError(f"the database cannot be copied to {target}: {error}") from None


def _make(connection: Connection) -> None:
    """Make everything in an empty database: by way of all revisions a first start would take half a second longer."""
    Base.metadata.create_all(connection, checkfirst=False)
    for statement in beside_tables.STATEMENTS[connection.dialect.name]:
        connection.exec_driver_sql(statement)
    MigrationContext.configure(connection).stamp(_scripts(), "head")


def _keep_copy(store: Store) -> None:
    """Copy a database of an earlier revision, if it is a file."""
    with store.engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        file = connection.engine.url.database
        if connection.dialect.name != "sqlite":
            file = None
    if revision is None or revision == _scripts().get_current_head():
        return
    if file in {None, "", ":memory:"}:
        log.warning("schema.no_copy", revision=revision, reason="no revision leads back; keep a dump of the database")
        return
    target = Path(f"{file}.before-upgrade-from-{revision}")
    partial = target.with_name(target.name + ".new")
    partial.unlink(missing_ok=True)
    copy_to(store, partial)
    partial.replace(target)
    log.info("schema.copied", revision=revision, copy=str(target))


def configuration(connection: Connection | None = None) -> Config:
    """Return alembic's configuration; there is no alembic.ini. Commands that reach the database need `connection`."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    return config


@cache
def _scripts() -> ScriptDirectory:
    """Return the revisions of this program; to read them takes longer than to look at a database that has them all."""
    return ScriptDirectory.from_config(configuration())


def _known_revision(connection: Connection) -> str | None:
    """Return the revision of a database, None for an empty one; raise `PermanentError` on one of a newer program."""
    revision = MigrationContext.configure(connection).get_current_revision()
    try:
        if revision is not None:
            _scripts().get_revision(revision)
    except CommandError:
        raise PermanentError(
            f"the database has revision {revision!r}, which this program does not know: a newer one has used it; "
            "run that version, or restore a copy of the database from before the upgrade"
        ) from None
    return revision


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
