"""Fixtures that several kinds of tests share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import make_url

from tests.postgresql import PostgresqlServer, postgresql_server
from wgfleet.panel.store import Store, schema

# No time limits: a slow machine must not turn an invariant red.
settings.register_profile("wgfleet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wgfleet")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One real PostgreSQL server for the session."""
    with postgresql_server() as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer) -> Iterator[str]:
    """SQLAlchemy's URL of a new, empty PostgreSQL database."""
    with postgresql.database() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the schema and no rows."""
    path = tmp_path_factory.mktemp("template") / "panel.sqlite"
    with_schema(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgresqlServer) -> Iterator[str]:
    """The name of a PostgreSQL database with the schema and no rows."""
    with postgresql.database() as url:
        with_schema(url)
        yield str(make_url(url).database)


def with_schema(url: str) -> None:
    store = Store(url)
    schema.migrate(store)
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """SQLAlchemy's URL of a new database with the schema: the test runs on SQLite and on PostgreSQL.

    It is a copy: a migration for each test would be most of the time that the tests of rows take.
    """
    if request.param == "sqlite":
        path = tmp_path / "panel.sqlite"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    with server.database(request.getfixturevalue("postgresql_template")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy's URL of a new, empty database: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'panel.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url
