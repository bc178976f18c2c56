"""The room of a config's nodes, on both databases."""

from tests.panel.world import LIVE_S, World
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import capacity
from wgfleet.panel.services.fleet.capacity import ConfigCapacity
from wgfleet.panel.store.tables import Config


def capacities(world: World, config: Config) -> ConfigCapacity:
    with world.store.read() as tx:
        return capacity.of_config(tx, configs.get(tx, config.id), live_within_s=LIVE_S)


def test_each_node_says_what_it_has_and_who_would_replace_it(world: World) -> None:
    config = world.config()
    one, two, three = world.serving(config, "one", "two", "three")
    made = world.peers(config, *"abcdef")
    for node in (one, two, three):
        world.sync(config, node)
    world.seen(config, one, {made[0].public_key: "198.51.100.7:4000"})
    found = capacities(world, config)
    assert [(node.homes, node.live, node.headroom) for node in found.nodes] == [
        (2, 1, None),
        (2, 0, None),
        (2, 0, None),
    ]
    assert found.nodes[0].loss.gained == {two.id: 1, three.id: 1}
    assert found.warnings == []


def test_a_failover_that_would_overload_says_so_before_it_happens(world: World) -> None:
    config, second = world.config(), world.config("wg1", pools=("10.9.0.0/24",))
    one, two = world.node("one"), world.node("two", capacity=4)
    for node in (one, two):
        for each in (config, second):
            world.assign(each, node)
            world.sync(each, node)
    world.peers(config, *"abc")
    world.peers(second, *"defg")
    found = capacities(world, config)
    assert [node.load for node in found.nodes] == [4, 3]
    assert found.nodes[1].headroom == 1
    assert found.nodes[0].loss.overloaded == {two.id: 3}
    assert found.warnings == [
        "if node 'one' fails, node 'two' would exceed its capacity by 3 peers; raise it, or assign another node"
    ]


def test_the_only_node_warns_that_its_peers_would_have_none(world: World) -> None:
    config = world.config()
    world.serving(config, "one")
    world.peers(config, "a", "b")
    assert capacities(world, config).warnings == [
        "if node 'one' fails, no node has room for 2 peers of config 'wg0'; assign another"
    ]
