"""Which addresses a node lost last, when providers are slow, clocks are set back, and addresses move by hand."""

import pytest

from tests.panel.floating.test_holders import A1, A2, put
from tests.panel.floating.test_sessions import callers, due, failed_over, live
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health, Standing
from wgfleet.panel.services import health
from wgfleet.panel.services.floating import brought, holders
from wgfleet.panel.services.moves import takeover_sources
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store.tables import Config, Node


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One database will do: what is kept is tested on both."""
    return sqlite_url


def lost(world: World, config: Config, node: Node) -> set[str]:
    """Return the addresses that a node lost last."""
    with world.store.read() as tx:
        rows = floating_rows.of_config(tx, config.id)
        assigned = [assignment for assignment, _ in floating_rows.carriers(tx, config.id)]
        found = takeover_sources._lost(rows, assigned)  # noqa: SLF001 - what of it is seen elsewhere depends on agents
        return {row.address for row in found if takeover_sources._giver(row) == node.id}  # noqa: SLF001 - the same


def test_addresses_that_a_provider_brings_one_after_another_were_lost_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1, A2)
    (ams1,) = world.serving(config, "ams1")
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 100)
    with world.store.write() as tx:
        holders.give(tx, config.id, {A1: ams1.id, A2: ams1.id})
        for row in floating_rows.of_config(tx, config.id):  # as of a provider that brings them
            row.leaving_node_id, row.still_at_node_id = None, fra1.id
    assert lost(world, config, fra1) == {A1, A2}
    monkeypatch.setattr(clock, "now", lambda: now + 105)
    with world.store.write() as tx:
        brought.is_with(tx, config.id, A1, ams1.id)
    assert lost(world, config, fra1) == {A1, A2}, "A2 is yet to come"
    monkeypatch.setattr(clock, "now", lambda: now + 112)
    with world.store.write() as tx:
        brought.is_with(tx, config.id, A2, ams1.id)
    assert lost(world, config, fra1) == {A1, A2}


def test_an_address_lost_before_the_clock_was_set_back_hides_none_that_is_lost_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1, A2)
    (ams1,) = world.serving(config, "ams1")
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 3600)
    with world.store.write() as tx:
        holders.give(tx, config.id, {A1: ams1.id})
    world.sync_all(config, fra1, ams1)
    monkeypatch.setattr(clock, "now", lambda: now + 60)
    with world.store.write() as tx:
        holders.give(tx, config.id, {A2: ams1.id})
    assert A2 in lost(world, config, fra1)


def test_a_node_that_dies_just_after_it_gave_its_address_up_has_its_clients_called_from_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a drain, or where its agent died first: its WireGuard calls clients back to itself as long as it lives."""
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    live(world, config, fra1, ams1)
    with world.store.write() as tx:
        holders.give(tx, config.id, {A1: ams1.id})
    world.sync_all(config, fra1, ams1)
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 60)
    operation = failed_over(world, config, fra1)
    with world.store.write() as tx:
        health.record(tx, config.id, {fra1.id: Standing(Health.DOWN, clock.now(), "a test says so", (clock.now(),))})
    world.sync_all(config, ams1)
    assert callers(due(world, operation)) == [(ams1.id, A1)]


def test_a_provider_s_address_whose_next_holder_dies_before_it_came_is_still_that_of_the_node_that_has_it(
    world: World,
) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1)
    ams1, par1 = world.serving(config, "ams1", "par1")
    with world.store.write() as tx:
        holders.give(tx, config.id, {A1: ams1.id})
        for row in floating_rows.of_config(tx, config.id):
            row.leaving_node_id, row.still_at_node_id = None, fra1.id
        holders.give(tx, config.id, {A1: par1.id})
        for row in floating_rows.of_config(tx, config.id):
            row.leaving_node_id = None
    assert lost(world, config, fra1) == {A1}
    with world.store.write() as tx:
        brought.is_with(tx, config.id, A1, par1.id)
    assert lost(world, config, fra1) == {A1}
