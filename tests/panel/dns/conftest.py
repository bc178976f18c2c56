"""A desk on SQLite; what depends on the database runs on both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.panel.dns.desk import Desk, Hands
from tests.panel.world import opened
from wgfleet.panel.store.tables import Config


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with opened(f"sqlite:///{tmp_path / 'panel.sqlite'}") as world:
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
