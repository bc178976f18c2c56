"""Columns of JSON, as they are read: also what is no strict JSON, of rows that were written long ago."""

import math

import pytest
from sqlalchemy import text

from tests.panel.world import World
from wgfleet.panel.services.fleet import nodes


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """PostgreSQL takes strict JSON only."""
    return sqlite_url


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('["192.0.2.1", "é", "\\u06af"]', ["192.0.2.1", "é", "گ"]),
        ("[1180591620717411303424]", [2**70]),
        ("[Infinity]", [math.inf]),
        ('["\\ud800"]', ["\ud800"]),
    ],
)
def test_a_column_is_read_as_it_was_written(world: World, written: str, read: list[object]) -> None:
    node = world.node("fra1")
    with world.store.write() as tx:
        tx.session.execute(text("UPDATE nodes SET endpoint_addresses = :written"), {"written": written})
    with world.store.read() as tx:
        assert nodes.get(tx, node.id).endpoint_addresses == read
