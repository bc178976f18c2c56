"""A panel and agents, on loopback, whose CA is replaced."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from tests.agent.doors import Agent, listening
from tests.panel.agents.conftest import stream_of
from tests.panel.authority import current
from wgfleet.panel import clock
from wgfleet.panel.agents.authorities import AuthorityState
from wgfleet.panel.agents.authority import Authority, Identity, described
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.agents.tls import client_context
from wgfleet.panel.api import Panel
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile import key_rotations as watch
from wgfleet.panel.reconcile.agents.panel_start import begin
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.services import certificates
from wgfleet.panel.services.fleet import authority_rotation, node_agents, nodes
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.store.tables import Node

NAMES = ("fra1", "ams1", "lon1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY_S", 0.05)


@dataclass
class Fleet:
    """A panel, which may run or not, and agents that go on whatever it does."""

    panel: Panel
    folder: Path
    agents: dict[str, Agent] = field(default_factory=dict)
    stacks: dict[str, AsyncExitStack] = field(default_factory=dict)

    def state(self) -> AuthorityState:
        with self.panel.store.read() as tx:
            return self.panel.authorities.read(tx)

    def node(self, name: str) -> Node:
        with self.panel.store.read() as tx:
            return nodes.get(tx, name)

    def nodes(self) -> list[Node]:
        return [self.node(name) for name in self.agents]

    def rotate(self) -> None:
        made = Authority.create("test", clock.now())
        with self.panel.store.write() as tx:
            about = {"name": made.name, "certificate": made.certificate_pem, "key": made.key_pem}
            authority_rotation.start(tx, self.panel.vault, "test", **about)

    def waits_for(self) -> list[str]:
        with self.panel.store.read() as tx:
            row = authority_rotation.rotation(tx)
            return [] if row is None else [node.name for node in authority_rotation.waits_for(tx, row)]

    def file(self, authority: Authority) -> Identity:
        """Issue what a person calls agents with."""
        identity = authority.issue_panel_client(clock.now())
        with self.panel.store.write() as tx:
            certificates.of_client(tx, "panel", described(identity.certificate))
        return identity

    async def join(self, name: str) -> None:
        """Have an agent come to life that has enrolled."""
        with self.panel.store.write() as tx:
            node = nodes.create(tx, "test", NodeSpec(name, [f"192.0.2.{len(self.agents) + 1}"], agent_host="127.0.0.1"))
        await self.wake(name, current(self.panel), node.id)
        with self.panel.store.write() as tx:
            issued = described(self.agents[name].state.certificate.read_text())
            node_agents.enrolled(tx, nodes.get(tx, name), agent_port=self.agents[name].port, issued=issued)

    async def wake(self, name: str, authority: Authority | None = None, node_id: str | None = None) -> None:
        """Start an agent; with no CA, one that was stopped."""
        stack = self.stacks[name] = AsyncExitStack()
        node_id = node_id or self.node(name).id
        door = listening(self.folder / name, authority or current(self.panel), node_id, *stream_of(clock.now()))
        self.agents[name] = await stack.enter_async_context(door)
        if authority is None:
            with self.panel.store.write() as tx:
                nodes.update(tx, "test", nodes.get(tx, node_id), {"agent_port": self.agents[name].port})

    async def stop(self, name: str) -> None:
        await self.stacks.pop(name).aclose()

    async def soon(self, holds: Callable[[], bool], within_s: float = 20) -> None:
        async with asyncio.timeout(within_s):
            while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - rows have no event
                await asyncio.sleep(0.02)

    async def connected(self, *names: str) -> None:
        await self.soon(lambda: all(self.node(name).connected for name in names or self.agents))

    async def rotated(self) -> None:
        """Wait until the rotation has ended and each agent is connected by the new CA."""
        await self.soon(lambda: self.state().next is None)
        await self.connected(*self.stacks)


@asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[Supervisor]:
    """Run the core of the panel; it is killed without a word where the block ends by an error."""
    panel = fleet.panel
    start = begin(panel.store, panel.vault, panel.authorities, 90)
    parts = panel.store, panel.vault, panel.authorities, panel.publisher, panel.settings
    supervisor = Supervisor(*parts, Outlook(), start)
    supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.close()


@asynccontextmanager
async def waiting_for(fleet: Fleet, name: str) -> AsyncIterator[None]:
    """Run the core of the panel, with a rotation that waits for an agent which was stopped."""
    async with running(fleet):
        await fleet.connected()
        await fleet.stop(name)
        await fleet.soon(lambda: not fleet.node(name).connected)
        fleet.rotate()
        await fleet.soon(lambda: fleet.waits_for() == [name])
        yield


@pytest.fixture
def fleet(panel: Panel, tmp_path: Path) -> Fleet:
    return Fleet(panel, tmp_path)


def with_agents(fleet: Fleet, test: Callable[[], Awaitable[None]], names: tuple[str, ...] = NAMES) -> None:
    async def run() -> None:
        try:
            for name in names:
                await fleet.join(name)
            await test()
        finally:
            for name in list(fleet.stacks):
                await fleet.stop(name)

    asyncio.run(run())


def trusts_alone(agent: Agent, authority: Authority) -> bool:
    """Tell whether an agent's files are all of one CA."""
    shown = x509.load_pem_x509_certificate(agent.state.certificate.read_bytes())
    issuer = x509.load_pem_x509_certificate(authority.certificate_pem.encode()).subject
    return agent.state.ca.read_text() == authority.certificate_pem and shown.issuer == issuer


async def asks(fleet: Fleet, name: str, identity: Identity, believed: str) -> bool:
    """Tell whether an agent lets in who believes these CAs."""
    agent = fleet.agents[name]
    client = AgentClient("127.0.0.1", agent.port, fleet.node(name).id, client_context(believed, identity))
    try:
        await client.request_certificate()
    except TransientError:
        return False
    else:
        return True
    finally:
        await client.aclose()
