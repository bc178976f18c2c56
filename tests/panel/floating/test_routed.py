"""Addresses that routing daemons announce: only nodes whose daemon does it hold any, as rows and in real namespaces."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tests.panel.floating.test_holders import A1, becomes, carried, put
from tests.panel.world import World
from wgfleet.lab import assembly, bird, face, fleet, pings, routing, stock
from wgfleet.lab import state as labs
from wgfleet.lab.assembly import Equipment
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import failover
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import ROUTER, v6
from wgfleet.lab.waiting import wait_for
from wgfleet.panel.address_providers.bgp import Bgp
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.reconcile.floating import FloatingReconciler
from wgfleet.panel.services.fleet import assignments, node_agents
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol import features
from wgfleet.protocol.diff import ROUTING_FIELD, Drift

FAULT = Drift(ROUTING_FIELD, "announced to routers", "BIRD does not answer")
SEEN_S = 30.0


def knows(world: World, known: frozenset[features.Feature], *found: Node) -> None:
    for node in found:
        with world.store.write() as tx:
            node_agents.reported(tx, node.id, connected=True, known=known)


def says(world: World, config: Config, node: Node, *drift: Drift) -> None:
    """Have a node's agent report that it has what it is to have, but for `drift`."""
    with world.store.write() as tx:
        generation = world.agents[node.id, config.id].generation
        held = world.has.get((node.id, config.id), set())
        assignments.confirmed(tx, config.id, node.id, generation, drift, "said", held=set() if drift else held)


def holder(world: World) -> str | None:
    with world.store.read() as tx:
        row = floating_rows.find(tx, A1)
    assert row is not None
    return row.holder_node_id


def held_by_the_first(world: World) -> tuple[Config, Node, Node]:
    """Two nodes whose daemons announce addresses; the first holds one."""
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    knows(world, features.ALL, fra1, ams1)
    put(world, config, A1, provider=Bgp.name)
    world.sync_all(config, fra1, ams1)
    return config, fra1, ams1


def test_a_node_whose_daemon_is_down_is_not_given_an_address(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    knows(world, features.ALL, fra1, ams1)
    says(world, config, fra1, FAULT)
    put(world, config, A1, provider=Bgp.name)
    assert holder(world) == ams1.id


def test_what_a_node_cannot_announce_moves_to_another_with_its_sessions(world: World) -> None:
    config, fra1, ams1 = held_by_the_first(world)
    assert holder(world) == fra1.id
    world.wakes.clear()
    says(world, config, fra1, FAULT)
    assert (Topic.FLOATING, config.id) in {(wake.topic, wake.id) for wake in world.wakes}
    asyncio.run(FloatingReconciler(world.store, world.vault, {}).reconcile(config.id))
    with world.store.read() as tx:
        operation = operation_rows.newest(tx, OperationKind.MOVE_ADDRESS, A1)
    assert operation is not None
    assert ams1.id in str(operation.options)


def test_routers_are_asked_for_a_dead_node_s_address_as_soon_as_it_is_down(world: World) -> None:
    config, fra1, ams1 = held_by_the_first(world)
    becomes(world, config, fra1, Health.DOWN)  # its agent may live, and is not known to be silent yet
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["fra1"]}  # routers still lead there
    world.lapse(config, fra1)
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}


def test_an_address_stays_where_no_node_can_announce_it(world: World) -> None:
    config, fra1, ams1 = held_by_the_first(world)
    for node in (fra1, ams1):
        says(world, config, node, FAULT)
    asyncio.run(FloatingReconciler(world.store, world.vault, {}).reconcile(config.id))
    with world.store.read() as tx:
        assert operation_rows.newest(tx, OperationKind.MOVE_ADDRESS, A1) is None
    assert holder(world) == fra1.id


def test_nodes_say_whether_they_could_announce_before_they_hold_anything(world: World) -> None:
    config, fra1, ams1 = held_by_the_first(world)
    asked = [world.agents[node.id, config.id].settings.floating for node in (fra1, ams1)]
    assert [(found.routed, found.addresses) for found in asked if found] == [(True, (A1,)), (True, ())]


def test_an_agent_that_would_put_it_on_a_link_gets_none(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    knows(world, features.ALL - {features.Feature.ROUTED_ADDRESSES}, fra1)
    knows(world, features.ALL, ams1)
    put(world, config, A1, provider=Bgp.name)
    world.sync_all(config, fra1, ams1)
    assert holder(world) == ams1.id
    knows(world, features.ALL - {features.Feature.ROUTED_ADDRESSES}, ams1)
    put(world, config, A1, "203.0.113.77", provider=Bgp.name)
    world.sync_all(config, fra1, ams1)
    for node in (fra1, ams1):
        found = world.agents[node.id, config.id].settings.floating
        assert found is None or found.addresses == ()


@pytest.fixture
def lab() -> Iterator[Lab]:
    routing.check_machine()
    with labs.temporary("routed", 2, 2, nat=True, split=True) as built:
        assembly.assemble(built, Progress(quiet=True), Equipment(floating=1, provider=face.ROUTED))
        fleet.restart_panel(built, failover.SHORT_TRIAL)
        yield built


@pytest.fixture
def lab6() -> Iterator[Lab]:
    routing.check_machine("frr")
    with labs.temporary("routed6", 2, 1, nat=True, split=True) as built:
        equipment = Equipment(floating=1, provider=face.ROUTED, daemon="frr", ipv6=True)
        assembly.assemble(built, Progress(quiet=True), equipment)
        fleet.restart_panel(built, failover.SHORT_TRIAL)
        yield built


def held_by(lab: Lab, name: str) -> bool:
    """Whether the node alone has the address, and the router leads there."""
    ((address, names),) = face.holders(lab).items()
    led = lab.host(ROUTER).run("ip", "route", "get", address, check=False)
    own = lab.host(name).address
    return names == [name] and (f"via {own} " in led or f"via {v6(own)} " in led)


def wait_held(lab: Lab, name: str) -> None:
    def otherwise() -> str:
        with fleet.client(lab) as panel:
            said = {node["name"]: drift_of(lab, panel, node["name"]) for node in lab.result["nodes"]}
        return f"{face.holders(lab)}, not {name}; the nodes say {said}"

    wait_for(lambda: held_by(lab, name), otherwise, within_s=SEEN_S, every_s=0.1)


def drift_of(lab: Lab, panel: PanelClient, name: str) -> list[str]:
    node_id = next(node["id"] for node in lab.result["nodes"] if node["name"] == name)
    found = panel.all(f"/api/configs/{fleet.CONFIG}/nodes")
    return [line for entry in found if entry["node_id"] == node_id for line in entry["drift"]]


def answer(lab: Lab) -> None:
    for client in fleet.hosts(lab, "client"):
        stock.wait_reply(client, fleet.NODE_TUNNEL_ADDRESS, timeout_s=SEEN_S)


@pytest.mark.lab
@pytest.mark.timeout(300)
def test_a_daemon_that_dies_and_an_agent_that_hangs_lose_the_address_and_clients_go_on(lab: Lab) -> None:
    (first,) = face.wait_held_once(lab).values()
    (second,) = {host.name for host in fleet.hosts(lab, "node")} - {first}
    running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=20)
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, 2)
        fleet.wait_sessions(panel)
        routing.kill(lab.host(first))
        wait_held(lab, second)
        answer(lab)
        wait_for(lambda: any("BIRD does not answer" in line for line in drift_of(lab, panel, first)), "no drift",
                 within_s=SEEN_S)  # fmt: skip
        lab.host(first).run("rm", "-f", bird.SOCKET)
        routing.start(lab.host(first))
        wait_for(lambda: drift_of(lab, panel, first) == [], "still drift", within_s=SEEN_S)
        (hung,) = lab.host(second).signal(signal.SIGSTOP, "wgfleet.agent")
        wait_held(lab, first)
        answer(lab)
        lab.host(second).signal(signal.SIGCONT, "wgfleet.agent")
        assert hung > 0
        wait_held(lab, first)
    pings.measure(running)


def way_out(host: Host) -> str:
    """Return the IPv6 default route that a host learnt from the router's advertisements."""
    return host.run("ip", "-6", "route", "show", "default", "proto", "ra").strip()


@pytest.mark.lab
@pytest.mark.timeout(300)
def test_an_ipv6_address_moves_between_nodes_that_have_their_way_out_from_advertisements(lab6: Lab) -> None:
    """The tunnels are of IPv6, by FRR; a pool of IPv6 turns forwarding on, at which a kernel forgets such a route."""
    ((address, first),) = face.wait_held_once(lab6).items()
    nodes = fleet.hosts(lab6, "node")
    (second,) = {host.name for host in nodes} - {first}
    with fleet.client(lab6) as panel:
        fleet.wait_connected(panel, 2)
        for node in nodes:
            wait_for(lambda node=node: way_out(node) != "", "no way out", within_s=SEEN_S)  # type: ignore[misc]
        panel.call("POST", "/api/configs", {"name": "dual", "mode": "cluster", "pools": ["10.9.0.0/16", "fd00:9::/64"]})
        for node in lab6.result["nodes"]:
            panel.call("POST", "/api/configs/dual/nodes", {"node_id": node["id"]})
        forwarding = "/proc/sys/net/ipv6/conf/all/forwarding"
        for node in nodes:
            wait_for(lambda node=node: node.run("cat", forwarding) == "1\n", "no forwarding", within_s=SEEN_S)  # type: ignore[misc]
            assert node.run("cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra") == "2\n"
            assert way_out(node) != ""
        here = lab6.host(first).run("ip", "-6", "addr", "show", "dev", "lo", "to", address)
        assert "tentative" not in here
        assert "deprecated" in here, "the machine's own packets never leave from it"
        routing.kill(lab6.host(first))
        wait_held(lab6, second)
        answer(lab6)
        wait_for(lambda: any("FRR does not answer" in line for line in drift_of(lab6, panel, first)), "no drift",
                 within_s=SEEN_S)  # fmt: skip
        routing.start(lab6.host(first))
        wait_for(lambda: drift_of(lab6, panel, first) == [], "still drift", within_s=SEEN_S)
    endpoint = fleet.hosts(lab6, "client")[0].run("wg", "show", "wg0", "endpoints")
    assert f"[{address}]:" in endpoint
