"""Nodes that were cut off, or whose agent died, in the middle of a planned move: they drop before they have again."""

import pytest

from tests.panel.conftest import one_database
from tests.panel.moves.test_owed_drops import called, fenced
from tests.panel.moves.test_returning import AT
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.services import operations
from wgfleet.panel.store.tables import Operation


def ended(world: World, operation: Operation, monkeypatch: pytest.MonkeyPatch, answers: frozenset[str]) -> Operation:
    """Do the steps that are left once all windows are over."""
    now = clock.now()
    with monkeypatch.context() as later:
        later.setattr(clock, "now", lambda: now + 3600)
        later.setattr("tests.panel.world.math.inf", 10.0)
        for _ in range(6):
            if world.step(operation, answers=answers) is MoveStep.DONE:
                break
    with world.store.read() as tx:
        return operations.get(tx, operation.id)


@one_database
def test_clients_that_a_drain_had_moved_when_the_node_was_cut_off_are_called_when_it_returns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failover moves the others; what it sends when it returns turns all."""
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    (ann,) = world.peers(config, "ann")
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, {ann.public_key: AT})
    (drain,) = world.drain(fra1, window_s=1)
    for _ in range(4):
        world.sync(config, ams1)
        world.step(drain)
    world.judged(config, fra1, Health.DOWN)
    assert ended(world, drain, monkeypatch, frozenset()).result["sessions_taken_over"] == 1
    world.sync(config, ams1)
    world.judged(config, fra1, Health.RECOVERING)
    world.wakes.clear()
    world.sync(config, fra1)
    assert ann.public_key not in world.users(config, fra1)
    assert fenced(world)
    assert called(world, fenced(world)[0], fra1, ams1) == {fra1.id: [], ams1.id: [ann.public_key]}


@one_database
def test_a_node_that_keeps_the_config_drops_whom_others_had_taken_over_before_its_agent_died(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    ann, bob = world.peers(config, "ann", "bob")
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, {peer.public_key: AT for peer in (ann, bob)})
    removal = world.remove(config, fra1, window_s=1)
    for _ in range(5):
        world.sync(config, ams1)
        world.step(removal, answers=frozenset({ann.id}))
    kept = ended(world, removal, monkeypatch, frozenset())
    assert (kept.state, kept.result["left"], kept.result["sessions_taken_over"]) == (OperationState.FAILED, ["bob"], 1)
    world.sync(config, ams1)
    world.wakes.clear()
    world.sync(config, fra1)
    assert ann.public_key not in world.users(config, fra1), "it would turn ann back to itself"
    (assignment_id,) = fenced(world)
    assert called(world, assignment_id, fra1, ams1) == {fra1.id: [], ams1.id: [ann.public_key]}
    world.sync(config, fra1)
    assert ann.public_key in world.users(config, fra1)
