"""A panel and a clone of it, both running: the node obeys one, and the other decides nothing until somebody says so."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tests.panel.agents.conftest import HEARTBEAT, SNAPSHOT, ScriptedAgent, serve
from tests.panel.authority import keep
from tests.panel.world import World, opened
from tests.waiting import eventually
from wgfleet.agent.server.http import problem
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.panels import ObeyedPanels
from wgfleet.panel.agents.authority import Authority, agent_server_name, described
from wgfleet.panel.dns.metrics import DnsMetrics
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.reconcile.agents.panel_start import begin
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.services import configs, incarnations
from wgfleet.panel.services.fleet import node_agents, nodes
from wgfleet.panel.settings import Settings
from wgfleet.panel.store.tables import Config
from wgfleet.panel.vault import Vault
from wgfleet.protocol.features import PANEL_HEADER
from wgfleet.protocol.messages import Applied


@dataclass
class LoyalAgent(ScriptedAgent):
    """Obeys the newest panel, with an agent's own memory of it, and has whatever it is sent."""

    folder: Path = field(kw_only=True)
    pushed_by: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.panels = ObeyedPanels(self.folder / "panels.json", DamagedFiles())

    async def handle(self, request: Request) -> Response:
        header = request.headers.get(PANEL_HEADER)
        refusal = self.panels.refusal(header)
        if refusal is not None:
            return problem(refusal)
        if request.method == "PUT":
            generation = msgspec.json.decode(await request.body())["generation"]
            self.pushed_by.append(str(header))
            applied = Applied(generation, changed=True, verified=True, seconds=0.0, held=())
            self.answer = 200, msgspec.json.encode(applied)
        response = await super().handle(request)
        if request.url.path == "/v1/watch":
            response.body_iterator = self._while_obeyed(header)  # type: ignore[attr-defined]
        return response

    async def _while_obeyed(self, header: str | None) -> AsyncIterator[bytes]:
        yield SNAPSHOT
        while self.panels.refusal(header) is None:
            await asyncio.sleep(0.1)
            yield HEARTBEAT


@asynccontextmanager
async def running(world: World, authority: Authority, folder: Path) -> AsyncIterator[Outlook]:
    """Run the core of a panel, as `wgfleet panel run` does."""
    settings, outlook = Settings(data_dir=folder), Outlook()
    authorities = keep(world.store, world.vault, authority)
    start = begin(world.store, world.vault, authorities, 90)
    outlook.superseded = start.superseded
    publisher = Publisher(DnsPlugins.installed(settings), Limiter(world.store, world.vault), DnsMetrics())
    supervisor = Supervisor(world.store, world.vault, authorities, publisher, settings, outlook, start)
    supervisor.start()
    try:
        yield outlook
    finally:
        await supervisor.close()


def test_the_older_stops_and_what_is_said_to_be_restored_takes_over_while_both_run(
    tmp_path: Path, authority: Authority
) -> None:
    agent = LoyalAgent(folder=tmp_path)
    with opened(f"sqlite:///{tmp_path / 'first.sqlite'}") as first:
        first.vault = Vault([bytes(32)])
        [node] = first.serving(first.config(), "n1")
        identity = authority.issue_server([agent_server_name(node.id)], [], time.time())
        with serve(agent, identity, authority):
            with first.store.write() as tx:
                issued = described(agent.certificate)
                node_agents.enrolled(tx, nodes.get(tx, node.id), agent_port=agent.port, issued=issued)
                nodes.update(tx, "test", nodes.get(tx, node.id), {"agent_host": "127.0.0.1"})
            asyncio.run(both(first, agent, authority, tmp_path))


async def both(first: World, agent: LoyalAgent, authority: Authority, folder: Path) -> None:
    async with running(first, authority, folder) as one:
        await until(lambda: agent.pushed_by)
        assert one.superseded is None
        target = folder / "clone.sqlite"
        with closing(sqlite3.connect(folder / "first.sqlite")) as source, closing(sqlite3.connect(target)) as copied:
            source.backup(copied)
        with opened(f"sqlite:///{target}") as second:
            second.vault = first.vault
            async with running(second, authority, folder) as two:
                await until(lambda: one.superseded is not None)
                await until(lambda: superseded(first))
                await until(lambda: one.refused_by == 1)  # a call that the agent did not answer in time is no refusal
                assert two.superseded is None
                agent.pushed_by.clear()
                first.peers(only_config(first), "nobody")
                second.peers(only_config(second), "anna")
                await until(lambda: agent.pushed_by)
                await asyncio.sleep(1)
                assert len(set(agent.pushed_by)) == 1, "the older one sends nothing"
                # A new start of the older one changes nothing.
                async with running(first, authority, folder) as again:
                    assert again.superseded is not None
                    await asyncio.sleep(2)
                    assert again.superseded is not None
                    assert two.superseded is None
                with first.store.write() as tx:
                    incarnations.restored(tx, "somebody")
                await until(lambda: one.superseded is None and two.superseded is not None)
                agent.pushed_by.clear()
                first.peers(only_config(first), "bob")
                await until(lambda: agent.pushed_by)


async def until(look: Callable[[], object]) -> None:
    await asyncio.to_thread(eventually, look)


def superseded(world: World) -> bool:
    with world.store.read() as tx:
        return incarnations.superseded(tx) is not None


def only_config(world: World) -> Config:
    with world.store.read() as tx:
        return configs.page(tx)[0]
