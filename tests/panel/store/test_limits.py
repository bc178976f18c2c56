"""Nothing waits for the database for ever, and whatever it answers becomes an error that callers expect."""

import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from tests.panel.world import World
from wgfleet.panel.errors import Invalid, Unavailable
from wgfleet.panel.services import configs, generations
from wgfleet.panel.store import Store, databases, schema, turns

SOON_S = 0.3


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Give the URL of a server that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"postgresql+psycopg://u:p@127.0.0.1:{listening.getsockname()[1]}/d"


def test_a_server_that_says_nothing_is_not_waited_for(silent_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "CONNECT_S", 2)  # libpq waits for no less
    store = Store(silent_server)
    with pytest.raises(Unavailable, match="database cannot be used just now"), store.read() as tx:
        tx.session.execute(text("SELECT 1"))
    store.close()


def test_a_writer_that_never_ends_holds_nobody_up_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WRITER_S", SOON_S)
    store = Store(f"sqlite:///{tmp_path / 'panel.sqlite'}")
    schema.migrate(store)
    begun, end = threading.Event(), threading.Event()

    def hang() -> None:
        with store.write():
            begun.set()
            end.wait()

    thread = threading.Thread(target=hang)
    thread.start()
    begun.wait()
    try:
        with pytest.raises(Unavailable, match="another transaction does not end"), store.write():
            pass
    finally:
        end.set()
        thread.join()
    with store.write():
        pass
    store.close()


def test_when_no_connection_is_left_that_is_said(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "LEAST_CONNECTIONS", 2)
    monkeypatch.setattr(databases, "POOL_S", SOON_S)
    store = Store(database_url, 2)
    with store.read() as first, store.read() as second:
        for tx in (first, second):
            tx.session.execute(text("SELECT 1"))
        with pytest.raises(Unavailable, match="all connections to the database are in use"), store.read() as third:
            third.session.execute(text("SELECT 1"))
    store.close()


def test_a_number_beyond_64_bits_is_no_crash(world: World) -> None:
    config = world.config()
    with pytest.raises(Invalid, match="beyond what the database can keep"), world.store.write() as tx:
        generations.overtake(tx, config.id, 2**70)
    with world.store.read() as tx:
        assert configs.get(tx, config.id).generation == config.generation


@pytest.mark.postgresql
class TestPostgresql:
    @pytest.fixture
    def url(self, postgresql_url: str) -> str:
        return postgresql_url

    @pytest.fixture
    def store(self, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
        monkeypatch.setattr(databases, "LOCK_S", SOON_S)
        monkeypatch.setattr(databases, "STATEMENT_S", 2 * SOON_S)
        made = Store(url)
        schema.migrate(made)
        yield made
        made.close()

    def test_a_lock_of_somebody_else_is_not_waited_for(self, url: str, store: Store) -> None:
        with psycopg.connect(url.replace("+psycopg", "")) as shell:
            shell.execute("LOCK TABLE configs IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Unavailable, match="lock timeout"), store.write() as tx:
                tx.session.execute(text("UPDATE configs SET name = name"))

    def test_a_statement_that_takes_too_long_is_ended(self, store: Store) -> None:
        with pytest.raises(Unavailable, match="statement timeout"), store.read() as tx:
            tx.session.execute(text("SELECT pg_sleep(60)"))

    def test_what_the_administrator_set_counts(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(databases, "STATEMENT_S", SOON_S)
        store = Store(f"{url}&options=-c%20statement_timeout%3D7min")
        with store.read() as tx:
            assert tx.session.scalar(text("SHOW statement_timeout")) == "7min"
            assert tx.session.scalar(text("SHOW lock_timeout")) == "10s"
        store.close()

    def test_a_database_that_is_read_only_for_a_moment_is_unavailable(self, url: str, store: Store) -> None:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as shell:
            name = shell.info.dbname
            shell.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
            store.engine.dispose()
            with pytest.raises(Unavailable, match="read-only"), store.write() as tx:
                tx.session.execute(text("UPDATE configs SET name = name"))
            shell.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
        store.engine.dispose()
        with store.write() as tx:
            tx.session.execute(text("UPDATE configs SET name = name"))


def test_a_connection_that_is_in_use_when_the_store_is_closed_is_closed_when_it_is_free(database_url: str) -> None:
    store = Store(database_url)
    with store.read() as tx:
        tx.session.execute(text("SELECT 1"))
        driver: Any = tx.session.connection().connection.driver_connection
        store.close()
    with pytest.raises((psycopg.OperationalError, sqlite3.ProgrammingError)):
        driver.execute("SELECT 1")


def test_a_full_disk_says_so(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'full.sqlite'}")
    with store.write() as tx:
        tx.connection.exec_driver_sql("CREATE TABLE rows (text)")
        tx.connection.exec_driver_sql("PRAGMA max_page_count=4")
    with pytest.raises(Unavailable, match=r"is full\): see whether its disk is full"), store.write() as tx:
        tx.connection.exec_driver_sql("INSERT INTO rows VALUES (zeroblob(1000000))")
    store.close()
