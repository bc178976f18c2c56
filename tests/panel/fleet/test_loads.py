"""How busy nodes are, as rows and as placement sees it, on both databases."""

from collections import Counter

import pytest

from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.reconcile.agents.load_gauge import KEPT_S, LoadGauge
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import capacity, loads, node_groups, nodes, peers
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.nodes import LoadRow
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol.messages import LOAD_S, Load


def says(world: World, node: Node, cpu: float) -> None:
    with world.store.write() as tx:
        loads.report(tx, {node.id: Load(cpu=cpu, memory=0.1, bandwidth=0.05, bandwidth_bps=5e6)})


def placed_by(world: World, config: Config, placement: str) -> None:
    with world.store.write() as tx:
        configs.update(tx, ACTOR, configs.get(tx, config.id), {"placement": placement})


def homes(world: World, config: Config) -> Counter[str | None]:
    with world.store.read() as tx:
        return Counter(peer.home_node_id for peer in peers.page(tx, config.id))


def test_new_peers_go_to_the_less_busy_node_but_not_all_of_them(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    placed_by(world, config, "least_load")
    world.peers(config, *(f"p{number}" for number in range(10)))
    assert homes(world, config) == {one.id: 5, two.id: 5}
    says(world, one, 0.9)
    says(world, two, 0.1)
    # 1.0 machines in use by 10 peers: each is taken to need 0.1, so that they are even after eight.
    world.peers(config, *(f"q{number}" for number in range(10)))
    assert homes(world, config) == {one.id: 6, two.id: 14}


def test_what_a_node_said_long_ago_does_not_count(world: World) -> None:
    config = world.config()
    one, two = world.serving(config, "one", "two")
    placed_by(world, config, "least_load")
    with world.store.write() as tx:
        old = clock.now() - loads.STALE_S - 1
        node_rows.set_loads(tx, [LoadRow(node_id=one.id, cpu=0.9, memory=0, bandwidth=0, at=old)])
        assert loads.busy(tx, [one.id, two.id]) == {}
    world.peers(config, "a")
    assert homes(world, config) == {one.id: 1}, "by peers, and then by id"


def test_an_uplink_counts_by_what_the_node_is_said_to_carry(world: World) -> None:
    node = world.node("one")
    with world.store.write() as tx:
        nodes.update(tx, ACTOR, nodes.get(tx, node.id), {"bandwidth_mbps": 10})
    says(world, node, 0.2)
    with world.store.read() as tx:
        assert loads.busy(tx, [node.id]) == {node.id: 0.5}


def test_a_failover_goes_by_the_strategy_and_capacity_says_what_it_would_need(world: World) -> None:
    config = world.config()
    one, two, three = world.serving(config, "one", "two", "three")
    placed_by(world, config, "least_load")
    world.peers(config, *(f"p{number}" for number in range(6)))
    world.sync_all(config, one, two, three)
    for node, cpu in ((one, 0.9), (two, 0.9), (three, 0.1)):
        says(world, node, cpu)
    with world.store.read() as tx:
        found = capacity.of_config(tx, configs.get(tx, config.id), live_within_s=180)
    dead = next(entry for entry in found.nodes if entry.node.id == three.id)
    assert dead.busy == 0.1
    assert found.nodes[0].loss.gained == {three.id: 2}
    operation = world.failover(config, one)
    world.step(operation)
    assert homes(world, config) == {two.id: 2, three.id: 4}


def test_a_group_that_says_nothing_of_priority_takes_no_peers_from_nodes_without_one(world: World) -> None:
    config = world.config()
    served = world.serving(config, "one", "two", "three")
    with world.store.write() as tx:
        node_groups.create(tx, ACTOR, "to-drain-together")
        for node in served[:2]:
            nodes.update(tx, ACTOR, nodes.get(tx, node.id), {"group": "to-drain-together"})
    world.peers(config, *"abcdef")
    assert homes(world, config) == {node.id: 2 for node in served}


def test_the_region_of_a_peers_group_comes_before_other_groups(world: World) -> None:
    config = world.config()
    with world.store.write() as tx:
        for name, region, priority in (("ams", "eu", 20), ("fra", "eu", 30), ("nyc", "us", 10)):
            node_groups.create(tx, ACTOR, name, region=region, priority=priority)
    served = world.serving(config, "near", "far")
    with world.store.write() as tx:
        for node, group in zip(served, ("fra", "nyc"), strict=True):
            nodes.update(tx, ACTOR, nodes.get(tx, node.id), {"group": group})

    def home(name: str) -> str | None:
        with world.store.write() as tx:
            spec = PeerSpec(name, group="ams")
            return (
                peers.create(tx, ACTOR, configs.get(tx, config.id), peers.draft(world.vault, [spec]))
                .peers()[0]
                .home_node_id
            )

    assert home("by-priority") == served[1].id
    placed_by(world, config, "nearest_group")
    assert home("by-region") == served[0].id


def test_a_load_is_written_when_it_is_news_and_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    gauge = LoadGauge()
    assert gauge.take() is None
    quiet, busy = Load(0.1, 0.1, None, 1e6), Load(0.5, 0.1, None, 1e6)
    gauge.add(quiet)
    assert gauge.take() == quiet
    gauge.add(busy)
    assert gauge.take() is None, "not more often than agents speak"
    now += LOAD_S
    assert gauge.take() == busy
    now += LOAD_S
    gauge.add(busy)
    assert gauge.take() is None
    now += KEPT_S
    assert gauge.take() == busy
