"""Rehearsals: what is written meanwhile is gone again, and nobody hears of it."""

import pytest

from tests.panel.world import World
from wgfleet.panel.errors import NotFound
from wgfleet.panel.services.fleet import tags
from wgfleet.panel.store.wakes import Wake


def test_nothing_stays_of_what_is_rehearsed(world: World) -> None:
    heard: list[Wake] = []
    world.store.listen(heard.extend)
    with world.store.rehearsing():
        world.config("wg7", pools=("10.7.0.0/24",))
        with world.store.write() as tx:
            tags.create(tx, "test", {"name": "tried"})
    assert heard == []
    with world.store.read() as tx, pytest.raises(NotFound):
        tags.get(tx, "tried")
    world.config("wg7", pools=("10.7.0.0/24",))
    assert heard != []
