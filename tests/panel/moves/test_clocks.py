"""Nodes whose clocks are apart: clients refuse calls of the one that is behind until the difference has passed."""

import pytest

from tests.panel.conftest import one_database
from tests.panel.moves.test_removal import operation_now
from tests.panel.world import World
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import MoveResult, OperationState
from wgfleet.panel.services import operations as operation_service
from wgfleet.panel.services.fleet import node_agents
from wgfleet.panel.services.fleet import nodes as node_service
from wgfleet.panel.services.moves import kinds, steps
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config, Node

ENDPOINT = "198.51.100.1:1"


def fleet(world: World, **ahead_s: float) -> tuple[Config, list[Node]]:
    """Return a config on nodes with such clocks, and a client that is live on the first."""
    config = world.config()
    found = world.serving(config, *ahead_s)
    (user,) = world.peers(config, "anna")
    world.sync_all(config, *found)
    world.seen(config, found[0], {user.public_key: ENDPOINT})
    with world.store.write() as tx:
        node_rows.set_heard(tx, {node.id: (1.0, ahead_s[node.name]) for node in found})
    return config, found


@pytest.mark.parametrize(("fra1", "ams1", "longer_s"), [(0.0, 0.4, 0.0), (300.0, 0.0, 300.0), (0.0, -9e9, 3600.0)])
def test_a_failover_goes_on_until_the_difference_has_passed_and_says_so(
    world: World, fra1: float, ams1: float, longer_s: float
) -> None:
    config, (one, two) = fleet(world, fra1=fra1, ams1=ams1)
    operation = world.failover(config, one)
    assert world.step(operation) is MoveStep.PLACE
    world.sync(config, two)
    for _ in range(5):
        assert world.step(operation, answers=frozenset()) is MoveStep.TAKEOVER
    with world.store.read() as tx:
        view = kinds.view(tx, operation.id)
    now = operation_now(world, operation)
    assert view.drain_ends_at - now.created_at == pytest.approx(60 + longer_s, abs=5)
    assert ("clocks" in (now.error or "")) is bool(longer_s)


@one_database
def test_peers_go_to_a_node_whose_clock_is_not_behind(world: World) -> None:
    config, (one, _, three) = fleet(world, fra1=0.0, ams1=-300.0, par1=0.3)
    (operation,) = world.drain(one)
    assert world.step(operation) is MoveStep.PLACE
    with world.store.read() as tx:
        assert {peer.home_node_id for peer in peer_rows.of_config(tx, config.id)} == {three.id}


@one_database
def test_peers_go_to_a_node_that_is_ahead_only_where_no_clock_goes_with_theirs(world: World) -> None:
    config, (one, two, three) = fleet(world, fra1=0.0, ams1=300.0, par1=-0.3)
    for source, target in ((one, three), (three, two)):
        (operation,) = world.drain(source)
        assert world.step(operation) is MoveStep.PLACE
        with world.store.read() as tx:
            assert {peer.home_node_id for peer in peer_rows.of_config(tx, config.id)} == {target.id}


@one_database
def test_where_all_are_behind_they_are_taken_all_the_same(world: World) -> None:
    config, (one, two) = fleet(world, fra1=300.0, ams1=0.0)
    (operation,) = world.drain(one)
    assert world.step(operation) is MoveStep.PLACE
    with world.store.read() as tx:
        assert {peer.home_node_id for peer in peer_rows.of_config(tx, config.id)} == {two.id}


@one_database
def test_a_wrong_clock_is_said_in_words(world: World) -> None:
    _, found = fleet(world, fra1=300.0, ams1=0.9, par1=-30.0)
    with world.store.read() as tx:
        words = [node_agents.clock_warning(node_service.get(tx, node.id)) for node in found]
    assert "300 s ahead of" in str(words[0])
    assert words[1] is None
    assert "30 s behind" in str(words[2])


@pytest.mark.parametrize("apart_s", [0.0, 30.0])
def test_a_failover_that_moved_nobody_has_not_succeeded_and_says_why(world: World, apart_s: float) -> None:
    config, (one, two) = fleet(world, fra1=apart_s, ams1=0.0)
    operation = world.failover(config, one)
    assert world.step(operation) is MoveStep.PLACE
    world.sync(config, two)
    assert world.step(operation, answers=frozenset()) is MoveStep.TAKEOVER
    with world.store.write() as tx:
        steps.finish(tx, operation.id, None)
    ended = operation_now(world, operation)
    assert ended.state == OperationState.FAILED
    result = operation_service.result_of(ended, MoveResult)
    assert (result.sessions_taken_over, result.left_behind) == (0, 1)
    assert "no other node got an answer of its live client" in str(result.reason)
    assert ("30 s apart" in str(result.reason)) is bool(apart_s)


@one_database
def test_a_failover_of_which_somebody_came_by_himself_has_succeeded(world: World) -> None:
    config, (one, two) = fleet(world, fra1=30.0, ams1=0.0)
    operation = world.failover(config, one)
    assert world.step(operation) is MoveStep.PLACE
    world.sync(config, two)
    (user,) = world.peers(config, "bert")[:1]
    with world.store.read() as tx:
        anna = next(peer for peer in peer_rows.of_config(tx, config.id) if peer.id != user.id)
    world.seen(config, two, {anna.public_key: ENDPOINT})
    world.step(operation, answers=frozenset())
    with world.store.write() as tx:
        steps.finish(tx, operation.id, None)
    assert operation_now(world, operation).state == OperationState.SUCCEEDED
