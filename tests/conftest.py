"""Fixtures that several kinds of tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgresql import PostgresqlServer, postgresql_server

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


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy's URL of a new, empty database: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'panel.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url
