"""The drain of a group as rows, on both databases; whoever carries it out may die after any step."""

from collections import Counter

import pytest

from tests.panel.conftest import one_database
from tests.panel.world import ACTOR, World
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.operations import GroupDrainProgress, OperationState
from wgfleet.panel.errors import Conflict, Exhausted
from wgfleet.panel.services import operations
from wgfleet.panel.services.fleet import node_groups, nodes, peers
from wgfleet.panel.services.moves import departures, group_drain
from wgfleet.panel.store.tables import Config, Node, Operation
from wgfleet.panel.store.wakes import Topic, Wake

PEERS = 9


def fleet(world: World) -> tuple[Config, list[Node], Node]:
    """Return a config, the two nodes of the group `rack` that serve it with a live peer each, and one outside."""
    config = world.config()
    one, two, out = world.serving(config, "one", "two", "out")
    with world.store.write() as tx:
        node_groups.create(tx, ACTOR, "rack")
    made = world.peers(config, *(f"p{number}" for number in range(PEERS)))
    for node in (one, two):
        with world.store.write() as tx:
            nodes.update(tx, ACTOR, nodes.get(tx, node.id), {"group": "rack"})
        key = next(peer.public_key for peer in made if peer.home_node_id == node.id)
        world.seen(config, node, {key: "198.51.100.7:4000"})
    world.sync_all(config, one, two, out)
    return config, [one, two], out


def begin(world: World, *, force: bool = False) -> Operation:
    with world.store.write() as tx:
        return group_drain.start(tx, ACTOR, node_groups.get(tx, "rack"), grace_s=30, force=force)


def uncordon(world: World) -> None:
    with world.store.write() as tx:
        group_drain.uncordon(tx, ACTOR, node_groups.get(tx, "rack"))


def step(world: World, operation: Operation) -> bool:
    with world.store.write() as tx:
        return group_drain.step(tx, operation.id)


def now(world: World, operation: Operation) -> Operation:
    with world.store.read() as tx:
        return operations.get(tx, operation.id)


def drains(world: World, operation: Operation) -> list[Operation]:
    """Return the drains of nodes that were begun, in their order."""
    begun = operations.progress_of(now(world, operation), GroupDrainProgress).drains or {}
    with world.store.read() as tx:
        return [operations.get(tx, drain_id) for found in begun.values() for drain_id in found]


def run(world: World, config: Config, every: list[Node], operation: Operation) -> Operation:
    """Carry a group's drain to its end; nothing is kept between two steps but rows."""
    for _ in range(60):
        if not step(world, operation):
            return now(world, operation)
        running = [drain for drain in drains(world, operation) if drain.finished_at is None]
        assert len(running) <= 1, "one node after the other"
        for drain in running:
            world.step(drain)
        world.sync_all(config, *every)
    raise AssertionError("it does not end")


def homes(world: World, config: Config) -> Counter[str | None]:
    with world.store.read() as tx:
        return Counter(peer.home_node_id for peer in peers.page(tx, config.id))


@one_database
def test_a_group_is_emptied_one_node_after_the_other_and_no_peer_moves_twice(world: World) -> None:
    config, rack, out = fleet(world)
    operation = begin(world)
    with world.store.read() as tx:
        assert [nodes.get(tx, node.id).cordoned for node in rack] == [True, True], "before the first is emptied"
    ended = run(world, config, [*rack, out], operation)
    assert ended.state == OperationState.SUCCEEDED
    expected = {"peers_migrated": 6, "sessions_taken_over": 2, "left_behind": 0, "nodes": 2}
    assert {name: ended.result[name] for name in expected} == expected
    assert homes(world, config) == {out.id: PEERS}
    assert [drain.node_id for drain in drains(world, operation)] == [node.id for node in rack]


@one_database
def test_asked_again_it_is_the_same_operation(world: World) -> None:
    fleet(world)
    assert begin(world).id == begin(world).id


@one_database
def test_uncordoning_stops_it_and_says_what_was_not_drained(world: World) -> None:
    config, rack, out = fleet(world)
    operation = begin(world)
    step(world, operation)
    uncordon(world)
    assert Wake(Topic.OPERATION, operation.id, operation.kind) in world.wakes
    ended = run(world, config, [*rack, out], operation)
    assert ended.state == OperationState.FAILED
    assert set(ended.result["not_drained"]) == {"one", "two"}
    assert len(drains(world, operation)) == 1, "the second is not begun"


@one_database
def test_it_is_refused_where_the_others_are_too_few_or_have_too_little_room(world: World) -> None:
    _, rack, out = fleet(world)
    with world.store.write() as tx:
        nodes.update(tx, ACTOR, nodes.get(tx, out.id), {"capacity": 7})
    with pytest.raises(Exhausted, match="room for 2 of 6 peers of nodes 'one', 'two'"):
        begin(world)
    world.cordon(out)
    with pytest.raises(Conflict, match="0 of at least 1 nodes in use"):
        begin(world)
    with world.store.read() as tx:
        assert [nodes.get(tx, node.id).cordoned for node in rack] == [False, False], "nothing was begun"
    with world.store.write() as tx:
        node_groups.create(tx, ACTOR, "empty")
        with pytest.raises(Conflict, match="has no nodes"):
            group_drain.start(tx, ACTOR, node_groups.get(tx, "empty"), grace_s=30)


@one_database
def test_a_node_that_dies_meanwhile_is_left_to_its_failover(world: World) -> None:
    config, (one, two), out = fleet(world)
    operation = begin(world)
    step(world, operation)
    failover = world.failover(config, one)
    for _ in range(10):
        world.step(failover)
        world.sync_all(config, two, out)
    ended = run(world, config, [two, out], operation)
    assert ended.state == OperationState.FAILED
    assert list(ended.result["not_drained"]) == ["one"]
    assert homes(world, config) == {out.id: PEERS}


@one_database
def test_it_waits_for_the_others_where_the_room_went_meanwhile(world: World) -> None:
    config, rack, out = fleet(world)
    operation = begin(world)
    world.judged(config, out, Health.DOWN)
    with pytest.raises(Conflict, match="0 of at least 1"):
        step(world, operation)
    assert drains(world, operation) == []
    world.judged(config, out, Health.SERVING)
    world.sync(config, out)
    assert run(world, config, [*rack, out], operation).state == OperationState.SUCCEEDED


@one_database
def test_its_nodes_relay_whom_nobody_else_can_call_and_the_result_names_them(world: World) -> None:
    config, rack, out = fleet(world)
    with world.store.write() as tx:
        operation = group_drain.start(tx, ACTOR, node_groups.get(tx, "rack"), grace_s=30, relay_s=3600.0)
        with pytest.raises(Conflict, match="under way with relays of 3600 s"):
            group_drain.start(tx, ACTOR, node_groups.get(tx, "rack"), grace_s=30, relay_s=60.0)
        assert group_drain.start(tx, ACTOR, node_groups.get(tx, "rack"), grace_s=30).id == operation.id
    ended = run(world, config, [*rack, out], operation)
    assert [drain.options["relay_s"] for drain in drains(world, operation)] == [3600.0, 3600.0]
    assert ended.state == OperationState.SUCCEEDED


def test_it_is_foreseen_for_each_node_and_config(world: World) -> None:
    _, rack, _ = fleet(world)
    with world.store.read() as tx:
        found = departures.of_group(tx, node_groups.get(tx, "rack"))
    assert [(node.id, len(departure.clients)) for _, node, departure in found] == [(node.id, 1) for node in rack]
