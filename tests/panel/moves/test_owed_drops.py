"""Nodes that had not dropped what others took over when the operation ended: they do it before they have it again."""

import asyncio
from typing import cast

import pytest

from tests.panel.conftest import one_database
from tests.panel.moves.test_removal import operation_now
from tests.panel.moves.test_returning import AT, Line
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.moves.recalls import Recalls
from wgfleet.panel.services.fleet import assignments
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.panel.store.wakes import Topic


@pytest.fixture
def drained(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[Config, Node, Node, set[str]]:
    """Two nodes; the second took two sessions over from the first, whose agent died before it heard of that."""
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    users = {peer.public_key for peer in world.peers(config, "ann", "bob")}
    idle = {peer.public_key for peer in world.peers(config, "cid")}
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, dict.fromkeys(users, AT))
    (operation,) = world.drain(fra1, window_s=1)
    for _ in range(4):
        world.step(operation)
        world.sync(config, ams1)
    now = clock.now()
    with monkeypatch.context() as later:
        later.setattr(clock, "now", lambda: now + 3600)
        later.setattr("tests.panel.world.math.inf", 10.0)
        for _ in range(4):
            step = world.step(operation)
    assert step is MoveStep.DONE
    result = dict(operation_now(world, operation).result)
    assert (result["sessions_taken_over"], result["unconfirmed"]) == (2, ["fra1"])
    world.sync(config, ams1)
    assert world.users(config, ams1) == users | idle
    world.wakes.clear()
    return config, fra1, ams1, users


def fenced(world: World) -> list[str]:
    return [wake.id for wake in world.wakes if wake.topic is Topic.FENCED]


def called(world: World, assignment_id: str, *nodes: Node) -> dict[str, list[str]]:
    lines = {node.id: Line() for node in nodes}
    connections = cast("dict[str, AgentConnection]", lines)
    asyncio.run(Recalls(world.store, world.vault, Settings().drain, connections).reconcile(assignment_id))
    return {node.id: sorted(lines[node.id].called) for node in nodes}


@one_database
def test_the_node_drops_them_when_it_answers_and_has_them_again_once_they_were_called(
    world: World, drained: tuple[Config, Node, Node, set[str]]
) -> None:
    config, fra1, ams1, users = drained
    world.sync(config, fra1)
    assert not world.users(config, fra1) & users, "it would turn them back to itself"
    (assignment_id,) = fenced(world)
    assert called(world, assignment_id, fra1, ams1) == {fra1.id: [], ams1.id: sorted(users)}
    world.wakes.clear()
    world.sync(config, fra1)
    assert world.users(config, fra1) >= users
    assert not fenced(world), "once"


@one_database
def test_a_panel_that_died_before_it_called_them_does_so_when_the_node_says_again_what_it_has(
    world: World, drained: tuple[Config, Node, Node, set[str]]
) -> None:
    config, fra1, ams1, users = drained
    world.sync(config, fra1)
    world.wakes.clear()
    with world.store.read() as tx:
        row = assignment_rows.get(tx, config.id, fra1.id)
        assert row is not None
        assert assignments.settled(tx, row) is None, "somebody waits for what it says"
    world.sync(config, fra1)
    (assignment_id,) = fenced(world)
    called(world, assignment_id, fra1, ams1)
    world.sync(config, fra1)
    assert world.users(config, fra1) >= users


@one_database
def test_one_that_went_down_before_it_answered_has_them_again_as_others_do(
    world: World, drained: tuple[Config, Node, Node, set[str]]
) -> None:
    config, fra1, ams1, users = drained
    world.judged(config, fra1, Health.DOWN)
    world.sync(config, fra1)
    assert not world.users(config, fra1) & users
    (assignment_id,) = fenced(world)
    called(world, assignment_id, fra1, ams1)
    for health in (Health.RECOVERING, Health.SERVING):
        world.judged(config, fra1, health)
    world.sync(config, fra1)
    assert world.users(config, fra1) >= users


@one_database
def test_one_that_is_relayed_by_the_node_keeps_its_session(
    world: World, drained: tuple[Config, Node, Node, set[str]]
) -> None:
    config, fra1, ams1, users = drained
    relayed, open_path = sorted(users)
    world.seen(config, ams1, {relayed: f"{fra1.endpoint_addresses[0]}:4000"}, in_s=2)
    world.sync(config, fra1)
    (assignment_id,) = fenced(world)
    assert called(world, assignment_id, fra1, ams1) == {fra1.id: [], ams1.id: [open_path]}
    world.sync(config, fra1)
    assert world.users(config, fra1) >= users
