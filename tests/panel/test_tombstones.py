"""Public keys that left a config are remembered for as long as a node may still have them."""

import pytest

from tests.panel.test_retention import prune
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.reconcile.retention import DAY_S
from wgfleet.panel.services import configs, generations
from wgfleet.panel.services.fleet import assignments, desired, peers
from wgfleet.panel.store.tables import Config, Node, Peer
from wgfleet.panel.store.wakes import Topic


def delete(world: World, config: Config, gone: list[Peer]) -> None:
    with world.store.write() as tx:
        peers.delete(tx, ACTOR, configs.get(tx, config.id), [peer.id for peer in gone])


def delta_reaches(world: World, config: Config, node: Node) -> bool:
    """Whether the node is told by a delta."""
    has = world.agents[node.id, config.id]
    with world.store.read() as tx:
        fresh = configs.get(tx, config.id)
        mine = next(view.assignment for view in assignments.listing(tx, config.id) if view.node.id == node.id)
        return has.generation >= max(fresh.oldest_base, mine.oldest_base)


def test_a_generation_is_raised_once_in_a_transaction_and_for_settings_too(world: World) -> None:
    config = world.config()
    with world.store.write() as tx:
        before = configs.get(tx, config.id).generation
        first = generations.bump(tx, config.id, topic=Topic.PEERS)
        assert (first, generations.bump(tx, config.id)) == (before + 1, before + 1)
        assert generations.bump(tx, config.id, settings=True) == before + 2
        assert generations.bump(tx, config.id, settings=True) == before + 2
        row = configs.get(tx, config.id)
        assert (row.generation, row.settings_generation) == (before + 2, before + 2)
        assert {wake.topic for wake in tx.wakes} >= {Topic.PEERS, Topic.CONFIG}
    with world.store.write() as tx:
        assert generations.bump(tx, config.id) == before + 3


def test_a_node_that_was_away_longer_than_tombstones_are_kept_gets_the_whole(world: World) -> None:
    config = world.config()
    here, away = world.serving(config, "one", "two")
    old, recent, kept = world.peers(config, "old", "recent", "kept")
    for node in (here, away):
        world.sync(config, node)
    delete(world, config, [old])
    world.sync(config, here)
    prune(world, DAY_S + 60)
    assert delta_reaches(world, config, away), "what it owes is kept for longer, with the name"
    prune(world, 31 * DAY_S + 60)
    assert delta_reaches(world, config, here)
    assert not delta_reaches(world, config, away)
    delete(world, config, [recent])
    with world.store.read() as tx:
        fresh = configs.get(tx, config.id)
        (mine, _) = (view.assignment for view in assignments.listing(tx, config.id))
        delta = desired.since(tx, world.vault, fresh, mine, world.agents[here.id, config.id].generation)
    assert delta.remove == (recent.public_key,)
    for node in (here, away):
        world.sync(config, node)
        assert world.agents[node.id, config.id] == world.whole(config, node)
        assert world.users(config, node) == {kept.public_key}


def test_young_tombstones_stay(world: World) -> None:
    config = world.config()
    (node,) = world.serving(config, "one")
    (gone,) = world.peers(config, "gone")
    world.sync(config, node)
    delete(world, config, [gone])
    prune(world, DAY_S - 60)
    assert delta_reaches(world, config, node)
    world.sync(config, node)
    assert world.users(config, node) == set()


def test_a_key_that_leaves_again_is_as_young_as_its_last_departure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    (node,) = world.serving(config, "one")
    key = "4" * 42 + "E="
    spec = peers.PeerSpec("phone", public_key=key)
    now = clock.now()
    for at in (now - 3 * DAY_S, now):
        monkeypatch.setattr(clock, "now", lambda at=at: at)
        with world.store.write() as tx:
            (peer,) = peers.create(tx, ACTOR, configs.get(tx, config.id), peers.draft(world.vault, [spec])).peers()
        world.sync(config, node)
        delete(world, config, [peer])
    prune(world, 60)
    assert delta_reaches(world, config, node)
    world.sync(config, node)
    assert world.users(config, node) == set()


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(world: World) -> None:
    config = world.config()
    (node,) = world.serving(config, "one")
    (gone,) = world.peers(config, "gone")
    with world.store.read() as tx:
        before = configs.get(tx, config.id).generation
        delete(world, config, [gone])
        assert [peer.id for peer in peers.page(tx, config.id)] == [gone.id]
        assert configs.get(tx, config.id).generation == before
    del node
