"""Which topics a change wakes: all that depends on it, and nothing else where that would cost something."""

import pytest

from tests.panel.world import ACTOR, World
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import node_agents, peers
from wgfleet.panel.services.moves import rebalance
from wgfleet.panel.store.wakes import Topic, Wake


def test_a_change_of_peers_wakes_nodes_and_not_what_depends_on_the_config(world: World) -> None:
    config = world.config()
    world.serving(config, "a")
    world.wakes.clear()
    [peer] = world.peers(config, "p")
    with world.store.write() as tx:
        peers.update(tx, world.vault, ACTOR, peers.get(tx, peer.id), {"enabled": False})
    with world.store.write() as tx:
        peers.delete(tx, ACTOR, configs.get(tx, config.id), [peer.id])
    assert world.wakes == [Wake(Topic.NEW_PEERS, config.id), *[Wake(Topic.PEERS, config.id)] * 2]


def test_that_an_agent_comes_or_goes_is_shown_and_what_it_reports_in_between_is_not(world: World) -> None:
    node = world.node("a")
    world.wakes.clear()
    for connected in (True, True, False):
        with world.store.write() as tx:
            node_agents.reported(tx, node.id, connected=connected, summary="in sync")
    assert world.wakes == [Wake(Topic.NODE_HEARD, node.id)] * 2


def test_an_operation_wakes_with_its_kind(world: World) -> None:
    config = world.config()
    world.serving(config, "a")
    world.wakes.clear()
    with world.store.write() as tx:
        operation = rebalance.start(tx, ACTOR, configs.get(tx, config.id), grace_s=1.0)
    assert Wake(Topic.OPERATION, operation.id, OperationKind.REBALANCE) in world.wakes


def test_a_wake_has_a_kind_where_it_is_that_of_an_operation_and_only_there() -> None:
    with pytest.raises(ValueError, match="kind of an operation"):
        Wake(Topic.OPERATION, "o")
    with pytest.raises(ValueError, match="kind of an operation"):
        Wake(Topic.NODE, "n", OperationKind.DRAIN)


def test_topics_that_are_finer_than_events_are_shown_as_their_subject() -> None:
    assert {topic.value: topic.shown_as for topic in Topic} == {
        "config": "config",
        "peers": "config",
        "new_peers": "config",
        "node": "node",
        "operation": "operation",
        "assignment": "assignment",
        "floating": "floating",
        "fenced": "assignment",
        "freeze": "freeze",
        "dns": "dns",
        "progress": "operation",
        "dns_published": "dns",
        "address_tried": "floating",
        "relay": "relay",
        "relayed": "relay",
        "node_heard": "node",
    }
