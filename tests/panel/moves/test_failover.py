"""Failovers, as rows, on both databases: who is called where while more than one node is in trouble."""

import pytest

from tests.panel.conftest import one_database
from tests.panel.world import LIVE_S, World
from wgfleet.panel import clock
from wgfleet.panel.address_providers.builtin import Layer2
from wgfleet.panel.domain.health.votes import Health, Standing
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.services import configs, health, operations
from wgfleet.panel.services.fleet import endpoint_groups, peers
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.services.floating import views
from wgfleet.panel.services.floating.settings import FloatingSpec
from wgfleet.panel.services.moves.takeovers import TakeoverCall, due
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Config, Node, Operation, Peer

ENDPOINT = "198.51.100.7:4000"


def fleet(world: World, *names: str) -> tuple[Config, list[Node], list[Peer]]:
    """Return a cluster whose nodes serve three peers each, all in sync; each peer has a session on the first node."""
    config = world.config()
    nodes = world.serving(config, *names)
    made = world.peers(config, *(f"p{number}" for number in range(3 * len(names))))
    world.sync_all(config, *nodes)
    world.seen(config, nodes[0], {peer.public_key: ENDPOINT for peer in made})
    return config, nodes, made


def called(world: World, operation: Operation, reachable: set[str] | None = None) -> list[TakeoverCall]:
    with world.store.write() as tx:
        return due(tx, world.vault, operation.id, live_within_s=LIVE_S, reachable=reachable)[1]


def homes(world: World, config: Config) -> set[str | None]:
    with world.store.read() as tx:
        return {peer.home_node_id for peer in peers.page(tx, config.id)}


def ended(world: World, config: Config, nodes: list[Node], operation: Operation) -> Operation:
    for _ in range(20):
        if world.step(operation) is MoveStep.DONE:
            with world.store.read() as tx:
                return operations.get(tx, operation.id)
        world.sync_all(config, *nodes)
    raise AssertionError("it does not end")


def test_sessions_on_their_way_to_a_node_that_turns_suspect_go_to_one_that_is_well(world: World) -> None:
    """It may be dead as well, and only kept by the floor."""
    config, (one, two, three), made = fleet(world, "one", "two", "three")
    operation = world.failover(config, one)
    world.step(operation)
    world.sync_all(config, two, three)
    before = called(world, operation)
    assert {call.node_id for call in before} == {two.id, three.id}
    world.judged(config, two, Health.SUSPECT)
    after = called(world, operation)
    assert {call.node_id for call in after} == {three.id}
    assert len(after) == len(made)
    assert homes(world, config) == {two.id, three.id}, "what the suspect node had before stays at home"
    assert ended(world, config, [two, three], operation).result["sessions_taken_over"] == len(made)


@one_database
def test_sessions_are_not_left_to_a_node_whose_agent_does_not_answer(world: World) -> None:
    config, (one, two, three), made = fleet(world, "one", "two", "three")
    operation = world.failover(config, one)
    world.step(operation)
    world.sync_all(config, two, three)
    found = called(world, operation, {three.id})
    assert {call.node_id for call in found} == {three.id}
    assert len(found) == len(made)


@one_database
def test_a_suspect_node_gets_sessions_where_there_is_no_other(world: World) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    operation = world.failover(config, one)
    world.judged(config, two, Health.SUSPECT)
    world.step(operation)
    world.sync(config, two)
    assert [call.node_id for call in called(world, operation, set())] == [two.id] * len(made)


def test_a_node_that_dies_before_it_has_said_whom_it_took_over_is_replaced_all_the_same(world: World) -> None:
    config, (one, two, three), made = fleet(world, "one", "two", "three")
    first = world.failover(config, one)
    world.step(first)
    world.sync_all(config, two, three)
    world.step(first)  # all answer, and no node has reported any of it
    second = world.failover(config, two)
    world.step(second)
    world.sync(config, three)
    found = called(world, second)
    assert len(found) > 0
    assert {(call.node_id, call.endpoint) for call in found} == {(three.id, ENDPOINT)}
    done = [ended(world, config, [three], operation).result["sessions_taken_over"] for operation in (first, second)]
    assert done == [len(made), len(found)]


@one_database
def test_an_answer_that_comes_late_is_a_session_and_ends_nothing_twice(world: World) -> None:
    config, (one, two, three), made = fleet(world, "one", "two", "three")
    operation = world.failover(config, one)
    world.step(operation)
    world.sync_all(config, two, three)
    calls_of_two = [call for call in called(world, operation) if call.node_id == two.id]
    closed = ended(world, config, [two, three], operation)
    world.answered(operation, three, calls_of_two)
    with world.store.read() as tx:
        assert operations.get(tx, operation.id).result == closed.result
    second = world.failover(config, two)
    world.step(second)
    world.sync(config, three)
    assert called(world, second) == [], "they are on the third already"
    assert closed.result["sessions_taken_over"] == len(made)


def test_a_failover_under_way_is_found_though_the_clock_was_set_back_since_the_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, nodes, _ = fleet(world, "one", "two")
    operation = world.failover(config, nodes[0])
    ended(world, config, nodes, operation)
    world.judged(config, nodes[0], Health.SERVING)
    monkeypatch.setattr(clock, "new_id", lambda: "0" * 32)  # what another panel's would sort as, before all others
    again = world.failover(config, nodes[0])
    assert again.finished_at is None
    assert again.id != operation.id
    assert world.failover(config, nodes[0]).id == again.id


@one_database
def test_what_nodes_lose_that_die_together_goes_to_none_of_them(world: World) -> None:
    config, (one, two, three), _ = fleet(world, "one", "two", "three")
    spec = EndpointGroupSpec(domain="vpn.example.com", floating=FloatingSpec(["203.0.113.1"], Layer2.name))
    with world.store.write() as tx:
        endpoint_groups.put(tx, world.vault, "test", configs.get(tx, config.id), spec)
    world.sync_all(config, one, two, three)
    down = Standing(Health.DOWN, clock.now(), "as the test says")
    world.dead.add(one.id)
    with world.store.write() as tx:
        health.record(tx, config.id, {one.id: down, two.id: down}, silent={one.id})
        (address,) = views.views(tx, config.id)
        assert address.holder is not None
        assert address.leaving is not None
        assert (address.holder.id, address.leaving.id) == (three.id, one.id), "the second never had it to give up"
    with world.store.read() as tx:
        first = operation_rows.newest(tx, OperationKind.FAILOVER, operations.subject(config.id, one.id))
    assert first is not None
    world.step(first)
    world.sync(config, three)
    assert {call.node_id for call in called(world, first)} == {three.id}
    assert homes(world, config) == {two.id, three.id}, "the second's own peers are its own failover's"
