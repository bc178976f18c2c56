"""A node that is well for long is seen to be so: heartbeats reach its row, and all nodes' in one transaction."""

import asyncio
import time
from typing import cast

import pytest
from sqlalchemy import event

from tests.panel.agents.conftest import HEARTBEAT, SNAPSHOT, ScriptedAgent, serve
from tests.panel.authority import keep
from tests.panel.conftest import one_database
from tests.panel.world import World
from tests.waiting import eventually
from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority, agent_server_name, key_digest
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.reconcile.agents import heartbeats
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.heartbeats import HeartbeatWriter
from wgfleet.panel.reconcile.agents.panel_start import begin
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.services.fleet import node_agents, nodes
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.store.tables import Node
from wgfleet.protocol.messages import HEARTBEAT_S


def last_seen_at(world: World, node_id: str) -> float | None:
    with world.store.read() as tx:
        return nodes.get(tx, node_id).last_seen_at


def test_a_node_that_is_in_sync_for_long_has_a_fresh_last_seen_at(
    panel: Panel, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "WRITE_EVERY_S", 0.05)
    with panel.store.write() as tx:
        node = nodes.create(tx, "test", NodeSpec("fra1", ["192.0.2.1"], agent_host="127.0.0.1"))
    agent = ScriptedAgent(stream=[SNAPSHOT, *(HEARTBEAT, HEARTBEAT_S / 5) * 600])

    def seen() -> Node:
        with panel.store.read() as tx:
            return nodes.get(tx, node.id)

    async def run() -> None:
        with panel.store.write() as tx:
            issued = Issued(None, key_digest(agent.certificate), clock.now() + 90 * 86400)
            node_agents.enrolled(tx, nodes.get(tx, node.id), agent_port=agent.port, issued=issued)
        authorities = keep(panel.store, panel.vault, authority)
        outlook, start = Outlook(), begin(panel.store, panel.vault, authorities, 90)
        supervisor = Supervisor(panel.store, panel.vault, authorities, panel.publisher, panel.settings, outlook, start)
        supervisor.start()
        try:
            await asyncio.to_thread(eventually, lambda: seen().summary == "in sync")
            for _ in range(3):
                since = clock.now()
                await asyncio.to_thread(eventually, lambda since=since: (seen().last_seen_at or 0) > since)
            assert (seen().summary, seen().connected) == ("in sync", True)
            assert outlook.tasks.failing == []
            assert not any(outlook.tasks.deaths.values())
        finally:
            await supervisor.close()

    identity = authority.issue_server([agent_server_name(node.id)], [], time.time())
    with serve(agent, identity, authority):
        asyncio.run(run())


@one_database
def test_two_hundred_nodes_cost_one_transaction_and_silent_ones_none(world: World) -> None:
    with world.store.write() as tx:
        found = [nodes.create(tx, "test", NodeSpec(f"node{n}", [f"192.0.2.{n}"])) for n in range(1, 201)]
    connections = {
        node.id: AgentConnection(node.id, cast("AgentClient", None), world.store, lambda: None) for node in found
    }
    connections["deleted meanwhile"] = AgentConnection(
        "deleted meanwhile", cast("AgentClient", None), world.store, lambda: None
    )
    commits: list[object] = []
    event.listen(world.store.engine, "commit", commits.append)
    writer = HeartbeatWriter(world.store, connections)

    def flush() -> int:
        commits.clear()
        asyncio.run(writer.flush())
        return len(commits)

    assert flush() == 0
    for connection in connections.values():
        connection.last_seen_at = 1000.0
    assert flush() == 1
    assert {last_seen_at(world, node.id) for node in found} == {1000.0}
    assert flush() == 0
    connections[found[0].id].last_seen_at = 1001.0
    assert flush() == 1
    assert [last_seen_at(world, node.id) for node in found[:2]] == [1001.0, 1000.0]
