"""A node that is proven not to let users' packets through is chosen last, and no config is left without nodes."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

import wgfleet
from tests.panel.world import World
from wgfleet.cli.config_health import unproven_forwarding
from wgfleet.panel.domain import forwarding
from wgfleet.panel.domain.dns.listing import DnsNode, desired_addresses
from wgfleet.panel.domain.forwarding import ForwardingFound
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit
from wgfleet.panel.services.dns import serving_nodes
from wgfleet.panel.services.fleet import assignments, forwardings, placement
from wgfleet.panel.services.floating import carriers
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol.messages import Forwarding, ForwardingState

OK, FAILED, NOT_PROVEN = ForwardingState


def says(world: World, config: Config, node: Node, *found: tuple[int, ForwardingState]) -> None:
    """Have a node's agent say what it found out."""
    with world.store.write() as tx:
        generation = world.agents[node.id, config.id].generation
        told = [Forwarding(version, state, f"it is {state}") for version, state in found]
        assignments.confirmed(tx, config.id, node.id, generation, (), "in sync", held=(), forwarding=told)


def published(world: World, config: Config, *, min_nodes: int = 1) -> set[str]:
    with world.store.read() as tx:
        nodes = serving_nodes.of_config(tx, config.id)
        return set(desired_addresses(nodes, (), only_healthy=True, min_nodes=min_nodes).addresses)


def homes(world: World, config: Config, *names: str) -> set[str | None]:
    made = {peer.id for peer in world.peers(config, *names)}
    with world.store.read() as tx:
        return {peer.home_node_id for peer in peer_rows.of_config(tx, config.id) if peer.id in made}


def test_others_are_preferred_as_long_as_there_are_any(world: World) -> None:
    config = world.config()
    good, bad = world.serving(config, "good", "bad")
    says(world, config, bad, (4, FAILED), (6, OK))
    says(world, config, good, (4, OK))
    assert published(world, config) == set(good.endpoint_addresses)
    assert homes(world, config, "a", "b") == {good.id}
    assert published(world, config, min_nodes=2) == {*good.endpoint_addresses, *bad.endpoint_addresses}
    with world.store.read() as tx:
        assert carriers.not_forwarding(tx, config.id) == {bad.id}
        (entry,) = audit.page(tx, action="forwarding_failed")[0]
    assert entry.details["reason"] == "IPv4: it is failed; IPv6: it is ok"
    says(world, config, bad)  # an agent that has just started, and has not tried
    assert published(world, config) == set(good.endpoint_addresses)
    says(world, config, good, (4, FAILED))
    assert published(world, config) == {*good.endpoint_addresses, *bad.endpoint_addresses}
    assert homes(world, config, "c", "d") == {bad.id}  # who has least
    with world.store.read() as tx:
        assert carriers.not_forwarding(tx, config.id) == set()
    says(world, config, bad, (4, NOT_PROVEN))
    assert published(world, config) == set(bad.endpoint_addresses)


def test_a_report_that_says_the_same_is_no_news(world: World) -> None:
    config = world.config()
    (node,) = world.serving(config, "n1")
    says(world, config, node, (4, OK))
    with world.store.read() as tx:
        assignment = assignment_rows.get(tx, config.id, node.id)
        assert assignment is not None
        assert not forwardings.is_news(assignment, [Forwarding(4, OK, "it is ok")])
        assert not forwardings.is_news(assignment, [])
        assert forwardings.is_news(assignment, [Forwarding(4, OK, "otherwise")])
        assert [each.forwards for each in placement.candidates(tx, config.id)] == [True]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], None),
        ([(6, "failed")], FAILED),
        ([(6, "failed"), (4, "ok")], OK),
        ([(4, "failed"), (6, "ok")], FAILED),
        ([(4, "not_proven"), (6, "ok")], NOT_PROVEN),
    ],
)
def test_ipv4_decides_where_users_have_it(states: Sequence[tuple[int, str]], expected: ForwardingState | None) -> None:
    found = [ForwardingFound(version=version, state=state, why="so") for version, state in states]
    whole = forwarding.overall(found)
    assert (whole and whole.state) == expected
    assert forwarding.fails(found) == (expected is FAILED)


def test_a_cordoned_node_that_forwards_comes_before_one_that_does_not() -> None:
    nodes = [
        DnsNode("kept", ("192.0.2.1",), in_use=True, cordoned=True),
        DnsNode("shut", ("192.0.2.2",), in_use=True, forwards=False),
    ]
    assert desired_addresses(nodes, (), only_healthy=True, min_nodes=1).addresses == ("192.0.2.1",)


def test_why_nothing_is_known_is_said(world: World, client: httpx.Client) -> None:
    config = world.config()
    tried, joining, away, old, fresh = world.serving(config, "tried", "joining", "away", "old", "fresh")
    says(world, config, tried, (4, NOT_PROVEN))
    with world.store.write() as tx:
        for node in (tried, joining, away, old, fresh):
            values = {"connected": node is not away, "agent_version": "0.0.1" if node is old else wgfleet.__version__}
            node_rows.set_values(tx, node.id, values)
        joined = assignment_rows.get(tx, config.id, joining.id)
        assert joined is not None
        joined.phase = Phase.JOINING
    found = {each["node_name"]: each for each in client.get(f"/api/configs/{config.name}/nodes").json()["items"]}
    reasons = {name: each["forwarding_unknown"] for name, each in found.items()}
    assert reasons.pop("tried") is None
    assert found["tried"]["forwarding"] == {"state": "not_proven", "reason": "it is not_proven"}
    assert all(found[name]["forwarding"] is None for name in reasons)
    words = {
        "joining": "it is joining",
        "away": "does not answer",
        "old": "earlier release",
        "fresh": "not tried it yet",
    }
    for name, word in words.items():
        assert word in reasons[name], name
    said = unproven_forwarding(list(found.values()))
    assert sorted(each.partition(":")[0] for each in said) == ["away", "fresh", "old", "tried"]
    assert "tried: it is not proven that it forwards what users send: it is not_proven" in said


def test_an_older_panel_says_no_reason() -> None:
    nodes: list[dict[str, Any]] = [
        {"node_name": "fra1", "phase": "serving", "forwarding": None},
        {"node_name": "par1", "phase": "serving"},
    ]
    assert unproven_forwarding(nodes) == []
