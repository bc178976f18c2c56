"""A desk on SQLite; what depends on the database runs on both."""

from collections.abc import Iterator

import pytest

from tests.panel.dns.desk import Desk, Hands
from tests.panel.world import opened
from wgfleet.panel.store.tables import Config


@pytest.fixture
def desk(sqlite_url: str) -> Iterator[Desk]:
    with opened(sqlite_url) as world:
        yield Desk(world)


@pytest.fixture
def either_desk(database_url: str) -> Iterator[Desk]:
    with opened(database_url) as world:
        yield Desk(world)


@pytest.fixture
def wg0(desk: Desk) -> Config:
    return desk.world.config()


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(monkeypatch)
