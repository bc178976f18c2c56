"""The schema that a new database gets at once, and an older one by revisions, on both databases."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.event import listen

from tests.postgresql import PostgresqlServer
from wgfleet.panel.errors import PermanentError, Unavailable
from wgfleet.panel.store import Store
from wgfleet.panel.store.revisions import scripts
from wgfleet.panel.store.schema import NEWEST, has_been_used, migrate, migrate_by_revisions
from wgfleet.panel.store.tables import Base

MIGRATE = """
import sys
from wgfleet.panel.store import Store, schema
store = Store(sys.argv[1])
schema.migrate(store)
store.close()
"""
# All that there is, in an order of its own: that of columns and constraints depends on the way.
SHAPE = {
    "sqlite": "SELECT name, sql FROM sqlite_master",
    "postgresql": """
      SELECT table_name || '.' || column_name, concat_ws(' ', udt_name, is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = 'public'
      UNION ALL SELECT conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
      UNION ALL SELECT relname, concat_ws(' ', relkind, reloptions)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
      UNION ALL SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
      UNION ALL SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    """,
}


@pytest.fixture
def store(empty_database_url: str) -> Iterator[Store]:
    store = Store(empty_database_url)
    yield store
    store.close()


@pytest.fixture
def other_url(empty_database_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A second empty database of the same kind."""
    if empty_database_url.startswith("sqlite"):
        yield f"{empty_database_url}-2"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    with server.database() as url:
        yield url


def is_the_programs(name: str | None, _kind: str, _parents: object) -> bool:
    """The index of names is each database's own, and so are counts of homes; they have tests of their own."""
    return name is None or not name.startswith(("peer_search", "peer_homes"))


def differences(store: Store) -> list[object]:
    with store.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_name": is_the_programs}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))


def shape(store: Store) -> list[tuple[str, list[str]]]:
    with store.engine.connect() as connection:
        found = connection.execute(text(SHAPE[store.engine.dialect.name])).all()
    return sorted((name, sorted(re.split(r"[\s,()\"]+", definition or ""))) for name, definition in found)


def test_migrations_make_exactly_the_tables_of_the_program(store: Store) -> None:
    migrate_by_revisions(store)
    assert differences(store) == []


def test_a_new_database_is_like_one_that_went_through_all_revisions(store: Store, other_url: str) -> None:
    migrate_by_revisions(store)
    of_revisions = shape(store)
    other = Store(other_url)
    migrate(other)
    assert shape(other) == of_revisions
    other.close()
    assert {"alembic_version", "peer_search"} <= {name for name, _ in of_revisions}


def test_the_newest_revision_is_alembics_last() -> None:
    assert scripts().get_current_head() == NEWEST


def test_one_operation_of_a_kind_and_subject_is_active_at_a_time(store: Store) -> None:
    migrate(store)
    index = next(index for index in sqlalchemy.inspect(store.engine).get_indexes("operations") if index["unique"])
    dialect = store.engine.dialect.name
    assert index["column_names"] == ["kind", "subject"]
    assert str(index["dialect_options"][f"{dialect}_where"]).strip("()") == "finished_at IS NULL"


def test_a_database_counts_as_used_from_its_first_migration_on(store: Store) -> None:
    assert not has_been_used(store)
    migrate(store)
    assert has_been_used(store)


def test_migrating_again_changes_nothing(store: Store) -> None:
    migrate(store)
    with store.write() as tx:
        tx.session.execute(text("INSERT INTO node_groups (id, name, region, priority) VALUES ('1', 'near', 'eu', 10)"))
    migrate(store)
    with store.read() as tx:
        assert tx.session.execute(text("SELECT name FROM node_groups")).scalars().all() == ["near"]


def test_a_start_that_has_nothing_to_migrate_keeps_nobody_from_writing(store: Store) -> None:
    """Nor does it look through all references: with 200,000 peers a start took half a second longer."""
    migrate(store)
    sent: list[str] = []
    listen(store.engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
    with store.write() as tx:
        tx.session.execute(text("INSERT INTO node_groups (id, name, region, priority) VALUES ('1', 'near', 'eu', 10)"))
        sent.clear()
        migrate(store)
    assert sent
    assert not [each for each in sent if "foreign_key_check" in each or "advisory" in each or "IMMEDIATE" in each]


def test_processes_that_start_at_once_all_find_the_schema(empty_database_url: str, store: Store) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    processes = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, empty_database_url], stderr=subprocess.PIPE, env=environment)
        for _ in range(2)
    ]
    results = [(process.communicate(timeout=150)[1], process.returncode) for process in processes]
    assert results == [(b"", 0)] * 2
    assert differences(store) == []


def test_a_new_file_that_another_process_is_changing_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    # A writer in a rollback journal refuses the change to WAL on the spot, whatever the busy time.
    other.execute("BEGIN IMMEDIATE")
    store = Store(f"sqlite:///{tmp_path}/new.db")
    with ThreadPoolExecutor(1) as threads:
        migration = threads.submit(migrate, store)
        with pytest.raises(TimeoutError):
            migration.result(timeout=0.2)
        other.execute("COMMIT")
        migration.result(timeout=120)
    assert differences(store) == []
    store.close()
    other.close()


def test_threads_that_migrate_at_once_all_find_the_schema(empty_database_url: str) -> None:
    stores = [Store(empty_database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, stores))
    assert differences(stores[0]) == []
    for store in stores:
        store.close()


def test_a_database_of_a_newer_program_is_refused_and_left_alone(store: Store) -> None:
    migrate(store)
    with store.write() as tx:
        tx.session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(PermanentError, match=r"revision '9999', which this program does not know"):
        migrate(store)
    with store.read() as tx:
        assert tx.session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_foreign_keys_are_watched_again_after_a_migration(store: Store) -> None:
    migrate(store)
    with store.engine.connect() as connection, pytest.raises(sqlalchemy.exc.IntegrityError):
        connection.execute(text("INSERT INTO join_tokens VALUES ('d', 'no such node', 0, 0, NULL)"))


def test_a_database_that_is_not_there_is_unavailable() -> None:
    store = Store("postgresql+psycopg://nobody@/none?host=/nonexistent")
    with pytest.raises(Unavailable, match="cannot be used just now"):
        migrate(store)
    store.close()
