"""The tests' own databases: real, empty, and one per test."""

import psycopg
import pytest
import sqlalchemy

from tests.postgresql import PostgresqlServer


def test_each_test_gets_an_empty_database_it_can_write(empty_database_url: str) -> None:
    engine = sqlalchemy.create_engine(empty_database_url)
    with engine.begin() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
        connection.execute(sqlalchemy.text("CREATE TABLE seen (number integer)"))
        connection.execute(sqlalchemy.text("INSERT INTO seen VALUES (7)"))
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT number FROM seen")) == 7
    engine.dispose()


def test_a_second_database_of_the_server_is_empty_too(empty_database_url: str) -> None:
    test_each_test_gets_an_empty_database_it_can_write(empty_database_url)


def test_postgresql_lives_on_a_private_socket_only(postgresql_url: str) -> None:
    engine = sqlalchemy.create_engine(postgresql_url)
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SHOW listen_addresses")) == ""
        assert connection.scalar(sqlalchemy.text("SELECT inet_server_addr()")) is None
    engine.dispose()


def rows(url: str, statement: str) -> list[object]:
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        done = connection.execute(sqlalchemy.text(statement))
        found: list[object] = [tuple(row) for row in done] if done.returns_rows else []
    engine.dispose()
    return found


AUDITED = (
    "INSERT INTO audit_log (at, actor, action, entity_type, entity_id, details) VALUES (1, 'a', 'b', 'c', 'd', '{}')"
)


def test_a_database_that_is_used_again_has_no_rows_and_another_name(
    postgresql: PostgresqlServer, postgresql_template: str
) -> None:
    with postgresql.copy(postgresql_template) as first:
        rows(first, AUDITED)
        held = psycopg.connect(first.replace("+psycopg", ""))
        held.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        held.execute("SELECT 1")
    held.close()
    with postgresql.copy(postgresql_template) as second:
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(first.replace("+psycopg", ""))
        assert rows(second, "SELECT * FROM audit_log") == []
        rows(second, AUDITED)
        assert rows(second, "SELECT id FROM audit_log") == [(1,)]


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE more (number integer)",
        "ALTER TABLE audit_log DROP COLUMN details",
        "CREATE INDEX more ON audit_log (actor)",
        "ALTER DATABASE {name} SET lock_timeout = 5",
        "ANALYZE audit_log",
    ],
)
def test_a_database_that_was_changed_otherwise_is_not_used_again(
    postgresql: PostgresqlServer, postgresql_template: str, change: str
) -> None:
    with postgresql.copy(postgresql_template) as url:
        name = sqlalchemy.make_url(url).database
        rows(url, AUDITED)
        rows(url, change.format(name=name))
    assert (name,) not in rows(postgresql.url("postgres"), "SELECT datname FROM pg_database")


def test_a_database_that_somebody_came_back_to_is_not_used_again(
    postgresql: PostgresqlServer, postgresql_template: str
) -> None:
    # Of a template of its own: what many tests have used is dropped when it has grown too large.
    with postgresql.database(postgresql_template) as url:
        template = str(sqlalchemy.make_url(url).database)
        with postgresql.copy(template) as first:
            name = sqlalchemy.make_url(first).database
        with psycopg.connect(first.replace("+psycopg", "")), postgresql.copy(template) as second:
            assert rows(second, "SELECT * FROM audit_log") == []
    assert (name,) not in rows(postgresql.url("postgres"), "SELECT datname FROM pg_database")
