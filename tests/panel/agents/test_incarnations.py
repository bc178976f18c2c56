"""A panel that agents refuse, since they obeyed a newer one, says so."""

import asyncio
import ssl

import httpx

from tests.panel.agents.conftest import NODE, ScriptedAgent
from tests.panel.conftest import served
from tests.panel.world import World
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.services import incarnations
from wgfleet.protocol.features import PANEL_HEADER

REFUSAL = (
    b'{"title":"an older panel","status":409,"detail":"this agent has obeyed start 9","reason":"older_panel"}'
)  # fmt: skip


def test_a_panel_that_is_refused_says_so(agent: ScriptedAgent, panel_context: ssl.SSLContext, panel: Panel) -> None:
    agent.refused = (409, REFUSAL)
    with panel.store.write() as tx:
        name = incarnations.name(tx, incarnations.begin(tx))

    def noted() -> str | None:
        with panel.store.read() as tx:
            return incarnations.trouble(tx)

    async def connect() -> str:
        client = AgentClient("127.0.0.1", agent.port, NODE, panel_context, name)
        connection = AgentConnection(NODE, client, panel.store, lambda: None)
        connection.start(BackgroundTasks())
        try:
            async with asyncio.timeout(60):
                while noted() is None:  # noqa: ASYNC110 - rows have no event
                    await asyncio.sleep(0.02)
        finally:
            await connection.close()
        return connection.trouble

    assert "has obeyed start 9 (409 older_panel)" in asyncio.run(connect())
    assert agent.headers[0][PANEL_HEADER] == name
    with served(create_app(panel)) as url:
        status = httpx.get(f"{url}/readyz").json()
    assert status["status"] != "ok"
    assert any("has obeyed start 9" in reason for reason in status["reasons"])


def test_each_start_is_a_new_incarnation_and_the_next_is_not_refused(world: World) -> None:
    with world.store.write() as tx:
        first = incarnations.begin(tx)
        incarnations.refused(tx, first.number, "refused")
        assert incarnations.trouble(tx) == "refused"
    with world.store.write() as tx:
        incarnations.restored(tx, "test")
        second = incarnations.begin(tx)
        assert second.number > first.number + 1000
        assert second.id != first.id
        assert incarnations.trouble(tx) is None
