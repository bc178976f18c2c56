"""A world on each database."""

from collections.abc import Iterator

import pytest

from tests.services.world import World, opened


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with opened(database_url) as made:
        yield made
