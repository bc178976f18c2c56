"""A node that was deleted while its agent was away hears of it when it is back."""

import asyncio
import ssl

import pytest
from sqlalchemy import select

from tests.panel.agents.conftest import NODE, ScriptedAgent
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.authorities import Trust
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.reconcile.agents import departures
from wgfleet.panel.reconcile.agents.departures import Departures
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services.fleet import node_agents, nodes
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import AuditEntry

STATUS = (
    b'{"node_id":"node1","version":"1","backend":"kernel","started_at":1,"now":2,"certificate_expires_at":3,'
    b'"scan_interval_s":1,"interfaces":[{"name":"wg0","config_id":"c1","generation":7,"peers":17,"up":true,"drift":[],'
    b'"summary":""}]}'
)


def actions(world: World) -> list[str]:
    with world.store.read() as tx:
        return [entry.action for entry in tx.session.scalars(select(AuditEntry).order_by(AuditEntry.id))]


def enroll(tx: Tx, node_id: str) -> None:
    node = nodes.get(tx, node_id)
    node_agents.enrolled(tx, node, agent_port=51900, issued=Issued(None, "key", clock.now() + 1000))
    node.agent_keys = []  # any that our CA has certified: the TLS context is that of other tests too


def ask(world: World, port: int, context: ssl.SSLContext) -> None:
    async def client(_host: str, _port: int, _id: str, _trusts: Trust) -> AgentClient:
        return AgentClient("127.0.0.1", port, NODE, context)

    asyncio.run(Departures(world.store, client, Outlook()).ask_all())


def test_its_interfaces_go_when_its_agent_is_back(
    world: World, agent: ScriptedAgent, panel_context: ssl.SSLContext
) -> None:
    node = world.node("n1")
    with world.store.write() as tx:
        enroll(tx, node.id)
    with world.store.write() as tx:
        nodes.delete(tx, ACTOR, nodes.get(tx, node.id), force=True)
    ask(world, 9, panel_context)  # nobody listens there: it is away
    with world.store.read() as tx:
        [row] = nodes.departed(tx)
        assert (row.id, row.agent_port) == (node.id, 51900)
        assert "node1" in row.summary
    agent.answer = (200, STATUS)
    ask(world, agent.port, panel_context)
    assert [request[:2] for request in agent.requests] == [
        ("GET", "/v1/status"),
        ("DELETE", "/v1/wg/wg0?config_id=c1"),
    ]
    with world.store.read() as tx:
        assert nodes.departed(tx) == []
    assert "dismissed" in actions(world)


def test_one_that_does_not_come_back_is_given_up(
    world: World, panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = world.node("n1")
    with world.store.write() as tx:
        enroll(tx, node.id)
        nodes.delete(tx, ACTOR, nodes.get(tx, node.id))
    monkeypatch.setattr(departures, "KEPT_S", -1.0)
    ask(world, 9, panel_context)
    with world.store.read() as tx:
        assert nodes.departed(tx) == []
    assert "dismissal_given_up" in actions(world)


def test_a_node_that_never_had_an_agent_is_gone_at_once(world: World) -> None:
    node = world.node("n1")
    with world.store.write() as tx:
        nodes.delete(tx, ACTOR, nodes.get(tx, node.id))
        assert nodes.departed(tx) == []
