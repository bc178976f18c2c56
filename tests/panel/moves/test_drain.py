"""Cordon, drain and rebalance, as rows, on both databases."""

from collections import Counter

import pytest

from tests.panel.conftest import one_database
from tests.panel.world import World
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.errors import Conflict, Exhausted
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import configs as config_service
from wgfleet.panel.services import operations
from wgfleet.panel.services.fleet import assignments, endpoint_groups, peers
from wgfleet.panel.store.tables import Config, Node, Operation
from wgfleet.panel.store.wakes import Topic, Wake


def homes(world: World, config: Config) -> dict[str, str | None]:
    with world.store.read() as tx:
        return {peer.name: peer.home_node_id for peer in peers.page(tx, config.id)}


def now(world: World, operation: Operation) -> Operation:
    with world.store.read() as tx:
        return operations.get(tx, operation.id)


def run(world: World, config: Config, nodes: list[Node], operation: Operation) -> Operation:
    """Carry an operation to its end, with every node in sync all the time."""
    for _ in range(20):
        if world.step(operation) is MoveStep.DONE:
            return now(world, operation)
        for node in nodes:
            world.sync(config, node)
    raise AssertionError("it does not end")


def fleet(world: World, *names: str) -> tuple[Config, list[Node]]:
    """Return a cluster whose nodes `a`, `b` and so on serve four peers each, all in sync."""
    config = world.config()
    nodes = world.serving(config, *names)
    world.peers(config, *(f"p{number}" for number in range(4 * len(names))))
    for node in nodes:
        world.sync(config, node)
    return config, nodes


def keys(world: World, config: Config) -> dict[str, str]:
    with world.store.read() as tx:
        return {peer.name: peer.public_key for peer in peers.page(tx, config.id)}


@one_database
def test_a_cordoned_node_gets_no_new_homes_until_it_is_uncordoned(world: World) -> None:
    config, (one, two) = fleet(world, "one", "two")
    world.cordon(one)
    world.peers(config, "x", "y")
    assert {homes(world, config)[name] for name in ("x", "y")} == {two.id}
    assert Counter(homes(world, config).values())[one.id] == 4, "what it has stays"
    world.uncordon(one)
    world.peers(config, "z")
    assert homes(world, config)["z"] == one.id


def test_the_only_node_gets_homes_even_while_it_is_cordoned(world: World) -> None:
    config = world.config()
    (one,) = world.serving(config, "one")
    world.cordon(one)
    world.peers(config, "x")
    assert homes(world, config) == {"x": one.id}


@one_database
def test_a_drain_moves_homes_and_sessions_and_the_node_stays_ready_for_every_peer(world: World) -> None:
    config, (one, two) = fleet(world, "one", "two")
    mine = [name for name, home in homes(world, config).items() if home == one.id]
    world.seen(config, one, {keys(world, config)[name]: "198.51.100.7:4000" for name in mine[:2]})
    (operation,) = world.drain(one)
    ended = run(world, config, [one, two], operation)
    assert ended.state == OperationState.SUCCEEDED
    expected = {"peers_migrated": 4, "sessions_taken_over": 2, "left_behind": 0}
    assert {name: ended.result[name] for name in expected} == expected
    assert set(homes(world, config).values()) == {two.id}
    assert len(world.users(config, one)) == len(world.users(config, two)) == 8
    with world.store.read() as tx:
        assert {view.assignment.phase for view in assignments.listing(tx, config.id)} == {"serving"}


@one_database
def test_the_drained_node_drops_a_taken_peer_before_it_may_have_it_again(world: World) -> None:
    """Or its next packet would turn the client back."""
    config, (one, two) = fleet(world, "one", "two")
    name = next(name for name, home in homes(world, config).items() if home == one.id)
    key = keys(world, config)[name]
    world.seen(config, one, {key: "198.51.100.7:4000"})
    (operation,) = world.drain(one)
    world.step(operation)
    world.sync(config, one)
    assert key in world.users(config, one), "nobody has answered yet"
    world.step(operation)
    world.sync(config, two)
    for _ in range(3):
        world.step(operation)
        assert now(world, operation).finished_at is None, "the node has not dropped it yet"
    world.sync(config, one)
    assert key not in world.users(config, one)
    assert key in world.users(config, two)
    world.step(operation)
    assert now(world, operation).state == OperationState.SUCCEEDED
    world.sync(config, one)
    assert key in world.users(config, one)


@one_database
def test_uncordoning_stops_a_drain_where_it_is(world: World) -> None:
    config, (one, two) = fleet(world, "one", "two")
    mine = [name for name, home in homes(world, config).items() if home == one.id]
    world.seen(config, one, {keys(world, config)[name]: "198.51.100.7:4000" for name in mine})
    (operation,) = world.drain(one)
    world.step(operation)
    world.uncordon(one)
    assert Wake(Topic.OPERATION, operation.id, operation.kind) in world.wakes
    ended = run(world, config, [one, two], operation)
    assert ended.state == OperationState.FAILED
    assert ended.result["reason"] == "the node was uncordoned"
    assert ended.result["left_behind"] == 4
    assert len(world.users(config, one)) == 8


@one_database
def test_a_drain_asked_again_is_the_same_and_each_config_has_its_own(world: World) -> None:
    config, (one, two) = fleet(world, "one", "two")
    second = world.config("wg1", "independent", ("10.9.0.0/24",))
    for node in (one, two):
        world.assign(second, node)
        world.sync(second, node)
    started = world.drain(one)
    assert {operation.config_id for operation in started} == {config.id, second.id}
    assert [operation.id for operation in world.drain(one)] == [operation.id for operation in started]


@one_database
def test_a_drain_that_leaves_too_few_nodes_or_too_little_room_is_refused(world: World) -> None:
    config = world.config()
    one, two = world.node("one"), world.node("two", capacity=3)
    world.assign(config, one)
    world.sync(config, one)
    world.peers(config, "a", "b", "c", "d")
    with pytest.raises(Conflict, match="0 of at least 1 nodes in use"):
        world.drain(one)
    world.assign(config, two)
    world.sync(config, two)
    with pytest.raises(Exhausted, match="no room for 1 of 4 peers"):
        world.drain(one)
    world.cordon(two)
    with pytest.raises(Conflict, match="min_nodes") as refused:
        world.drain(one)
    assert Hint(HintCode.UNCORDON_NODE) in refused.value.hints
    world.uncordon(two)
    with world.store.write() as tx:
        spec = endpoint_groups.EndpointGroupSpec(domain="vpn.example.com", port=51820, min_nodes=2)
        endpoint_groups.put(tx, world.vault, "test", config_service.get(tx, config.id), spec)
    with pytest.raises(Conflict, match="at least 2"):
        world.drain(one)
    (operation,) = world.drain(one, force=True)
    run(world, config, [one, two], operation)
    assert set(homes(world, config).values()) == {two.id}


@one_database
def test_what_no_other_node_can_have_stays_at_home(world: World) -> None:
    config, (one,) = fleet(world, "one")
    (operation,) = world.drain(one, force=True)
    ended = run(world, config, [one], operation)
    assert ended.result["peers_migrated"] == 0
    assert set(homes(world, config).values()) == {one.id}


@one_database
def test_a_drain_waits_for_a_node_without_its_agent_and_leaves_cordoned_ones_alone(world: World) -> None:
    config, (one, two, three) = fleet(world, "one", "two", "three")
    world.cordon(one)
    world.judged(config, three, Health.UNMANAGED)  # as straight after the panel's start, when one was faster
    mine = [name for name, home in homes(world, config).items() if home == two.id]
    world.seen(config, two, {keys(world, config)[mine[0]]: "203.0.113.1:4000"})
    (operation,) = world.drain(two)
    world.step(operation)
    world.step(operation)
    assert {homes(world, config)[name] for name in mine} == {three.id}
    world.judged(config, three, Health.SERVING)
    ended = run(world, config, [one, two, three], operation)
    assert (ended.result["peers_migrated"], ended.result["left_behind"]) == (4, 0)
    assert ended.result["sessions_taken_over"] == 1
    assert {homes(world, config)[name] for name in mine} == {three.id}


@one_database
def test_a_rebalance_spreads_homes_and_brings_sessions_along(world: World) -> None:
    config, (one, two) = fleet(world, "one", "two")
    (drain,) = world.drain(one)
    run(world, config, [one, two], drain)
    world.uncordon(one)
    assert Counter(homes(world, config).values()) == {two.id: 8}
    world.seen(config, two, dict.fromkeys(keys(world, config).values(), "198.51.100.7:4000"))
    ended = run(world, config, [one, two], world.rebalance(config))
    assert ended.state == OperationState.SUCCEEDED
    assert Counter(homes(world, config).values()) == {one.id: 4, two.id: 4}
    assert (ended.result["peers_migrated"], ended.result["sessions_taken_over"]) == (4, 4)
    assert len(world.users(config, one)) == len(world.users(config, two)) == 8


def test_a_rebalance_brings_sessions_home_between_nodes_in_both_directions(world: World) -> None:
    config, (one, two) = fleet(world, "one", "two")
    at_home = homes(world, config)
    for node, other in ((one, two), (two, one)):
        guests = [name for name, home in at_home.items() if home == other.id]
        world.seen(config, node, {keys(world, config)[name]: "198.51.100.7:4000" for name in guests})
    ended = run(world, config, [one, two], world.rebalance(config))
    assert (ended.result["peers_migrated"], ended.result["sessions_taken_over"]) == (0, 8)
    assert homes(world, config) == at_home


def test_a_rebalance_of_what_is_balanced_moves_nothing(world: World) -> None:
    config, nodes = fleet(world, "one", "two", "three")
    at_home = homes(world, config)
    assert run(world, config, nodes, world.rebalance(config)).progress["peers"] == 0
    assert homes(world, config) == at_home


def test_a_rebalance_without_a_serving_node_is_refused(world: World) -> None:
    with pytest.raises(Conflict, match="no node serves"):
        world.rebalance(world.config())


@one_database
def test_a_removal_overtakes_a_drain(world: World) -> None:
    config, (one, two) = fleet(world, "one", "two")
    mine = [name for name, home in homes(world, config).items() if home == one.id]
    world.seen(config, one, {keys(world, config)[name]: "198.51.100.7:4000" for name in mine})
    (drain,) = world.drain(one)
    world.step(drain)
    removal = world.remove(config, one)
    ended = run(world, config, [one, two], drain)
    assert ended.result["reason"] == "the node is being removed from the config"
    for _ in range(20):
        world.step(removal)
        world.sync(config, one)
        world.sync(config, two)
    assert now(world, removal).result["sessions_taken_over"] == 4


def test_a_disabled_peer_is_not_called(world: World) -> None:
    """No node has it, and an agent that is asked to call a stranger refuses the whole batch."""
    config, (one, two) = fleet(world, "one", "two")
    mine = [name for name, home in homes(world, config).items() if home == one.id]
    world.seen(config, one, {keys(world, config)[name]: "198.51.100.7:4000" for name in mine})
    (drain,) = world.drain(one)
    world.step(drain)
    with world.store.write() as tx:
        found = next(peer for peer in peers.page(tx, config.id) if peer.name == mine[0])
        peers.update(tx, world.vault, "test", peers.get(tx, found.id), peers.PeerChanges(enabled=False))
    world.sync(config, two)
    world.step(drain, answers=frozenset())
    with world.store.read() as tx:
        assert operations.get(tx, drain.id).progress["moved"] == 1
    assert run(world, config, [one, two], drain).state == OperationState.SUCCEEDED
