"""Which keys an agent may show: the one that it enrolled or was renewed with last; two only while it is renewed."""

import asyncio
from typing import Any, cast

import httpx

from tests.panel.authority import keep
from tests.panel.conftest import made
from tests.panel.world import World
from wgfleet.agent.enrollment.certificates import make_request
from wgfleet.panel import clock
from wgfleet.panel.agents.authority import key_digest
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.connections import Connections
from wgfleet.panel.reconcile.agents.own_certificates import OwnCertificates
from wgfleet.panel.reconcile.agents.panel_start import begin
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.services.fleet import node_agents, nodes
from wgfleet.panel.store.tables import Node


def keys_of(world: World | Panel, node_id: str) -> list[str]:
    with world.store.read() as tx:
        return nodes.get(tx, node_id).agent_keys


def enrolled(client: httpx.Client) -> str:
    """Join as the node and return the digest of the key."""
    token = made(client, "/api/nodes/fra1/join-token")["token"]
    return key_digest(made(client, "/api/enroll", token=token, csr=make_request("n")[1])["certificate"])


def test_who_enrolls_last_is_the_node(client: httpx.Client, panel: Panel, fra1: dict[str, Any]) -> None:
    first = enrolled(client)
    assert keys_of(panel, fra1["id"]) == [first]
    second = enrolled(client)
    assert first != second
    assert keys_of(panel, fra1["id"]) == [second]


class RenewedAgent:
    """Gets a new certificate, or breaks off in the middle."""

    def __init__(self, world: World, node_id: str, *, breaks: bool) -> None:
        self.keys = frozenset(keys_of(world, node_id))
        self.while_installing: list[str] = []
        self.installed = ""
        self.shown_key: str | None = None
        self.request: str | None = None
        self._world, self._node_id, self._breaks = world, node_id, breaks

    def accept_keys(self, digests: list[str]) -> None:
        self.keys = frozenset(digests)

    async def request_certificate(self) -> str:
        return self.request or make_request("n")[1]

    async def install_certificate(self, certificate: str, _ca: str) -> None:
        self.while_installing = keys_of(self._world, self._node_id)
        self.installed = key_digest(certificate)
        if self._breaks:
            raise TransientError("the line broke")


def renew(world: World, node: Node, *, breaks: bool = False, shows: str | None = None) -> RenewedAgent:
    agent = RenewedAgent(world, node.id, breaks=breaks)
    agent.shown_key = shows
    connection = AgentConnection(node.id, cast("AgentClient", agent), world.store, lambda: None)
    pusher = Pusher(world.store, world.vault, keep(world.store, world.vault), 90)
    connection.connected = True
    asyncio.run(pusher.cycle(connection))
    return agent


def test_both_keys_are_accepted_until_the_new_one_is_known_to_be_there(world: World) -> None:
    node = world.node("one")
    with world.store.write() as tx:
        issued = Issued(None, "old", clock.now() + 86400)
        node_agents.enrolled(tx, nodes.get(tx, node.id), agent_port=1, issued=issued)
    renew(world, node, breaks=True)
    assert len(keys_of(world, node.id)) == 2
    agent = renew(world, node)
    assert agent.while_installing[0] == "old"
    assert agent.while_installing[-1] == agent.installed
    assert agent.keys == set(agent.while_installing)
    assert keys_of(world, node.id) == [agent.installed]


def test_the_key_that_an_agent_shows_is_accepted_however_often_its_renewal_fails(world: World) -> None:
    node = world.node("one")
    with world.store.write() as tx:
        issued = Issued(None, "old", clock.now() + 86400)
        node_agents.enrolled(tx, nodes.get(tx, node.id), agent_port=1, issued=issued)
    for _ in range(9):
        refusing = renew(world, node, breaks=True)
    assert "old" in keys_of(world, node.id), "an agent whose disk is full has this one still"
    assert len(keys_of(world, node.id)) <= 6
    taken = refusing.installed
    for _ in range(9):
        renew(world, node, breaks=True, shows=taken)
    assert taken in keys_of(world, node.id), "the answer was lost, but not the certificate"


def test_a_request_that_is_none_is_the_agents_fault_and_not_the_panels(world: World) -> None:
    node = world.node("one")
    with world.store.write() as tx:
        issued = Issued(None, "old", clock.now() + 86400)
        node_agents.enrolled(tx, nodes.get(tx, node.id), agent_port=1, issued=issued)
    agent = RenewedAgent(world, node.id, breaks=False)
    agent.request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    connection = AgentConnection(node.id, cast("AgentClient", agent), world.store, lambda: None)
    connection.connected = True
    summary = asyncio.run(
        Pusher(world.store, world.vault, keep(world.store, world.vault), 90).cycle(connection)
    ).summary
    assert "the agent's request for one cannot be used" in summary
    assert keys_of(world, node.id) == ["old"]


def test_a_connection_to_who_was_the_node_before_ends_at_once(world: World) -> None:
    node = world.node("one")

    def enroll(key: str) -> None:
        with world.store.write() as tx:
            row = nodes.get(tx, node.id)
            node_agents.enrolled(tx, row, agent_port=1, issued=Issued(None, key, clock.now() + 9e6))

    async def work() -> None:
        authorities = keep(world.store, world.vault)
        start = begin(world.store, world.vault, authorities, 90)
        own = OwnCertificates(world.store, authorities, 90, start)
        connections = Connections(world.store, own, BackgroundTasks(), lambda _node: None, start.name)
        try:
            enroll("first")
            before = await connections.connection_to(node.id)
            assert before is not None
            assert await connections.connection_to(node.id) is before
            before.client.accept_keys(["first", "renewed"])
            with world.store.write() as tx:
                issued = Issued(None, "renewed", clock.now() + 9e6)
                assert node_agents.renewing(tx, node.id, issued, ["first"]) == ["first", "renewed"]
                node_agents.renewed(tx, node.id, issued)
            assert await connections.connection_to(node.id) is before
            enroll("another machine")
            after = await connections.connection_to(node.id)
            assert after is not None
            assert after is not before
            assert after.client.keys == {"another machine"}
            with world.store.write() as tx:
                nodes.delete(tx, "test", nodes.get(tx, node.id))
            assert await connections.connection_to(node.id) is None
        finally:
            await connections.close()

    asyncio.run(work())
