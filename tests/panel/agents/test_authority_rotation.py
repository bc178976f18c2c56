"""The CA is replaced: agents and panel always have one in common, whenever the panel is killed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from tests.agent.doors import Agent, listening
from tests.panel.agents.conftest import stream_of
from tests.panel.authority import current
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.panel import clock
from wgfleet.panel.agents.authorities import AuthorityState, pem_of
from wgfleet.panel.agents.authority import Authority, Identity, described
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.agents.tls import client_context
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.authorities import AuthorityStep, Trust
from wgfleet.panel.errors import Conflict, TransientError
from wgfleet.panel.reconcile import authority_rotation as watch
from wgfleet.panel.reconcile.agents.panel_start import begin
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.services import certificates
from wgfleet.panel.services.fleet import authority_rotation, nodes, revocations
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
            node = nodes.create(tx, "test", NodeSpec(name, [f"127.0.0.{len(self.agents) + 1}"], agent_host="127.0.0.1"))
        await self.wake(name, current(self.panel), node.id)
        with self.panel.store.write() as tx:
            issued = described(self.agents[name].state.certificate.read_text())
            nodes.enrolled(tx, nodes.get(tx, name), agent_port=self.agents[name].port, issued=issued)

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


def test_agents_and_panel_have_the_new_ca_and_the_old_one_is_refused(fleet: Fleet) -> None:
    async def test() -> None:
        before = current(fleet.panel)
        stolen = fleet.file(before)
        async with running(fleet):
            await fleet.connected()
            assert await asks(fleet, "fra1", stolen, before.certificate_pem)
            async with (
                fleet.agents["fra1"].client(stolen) as thief,
                thief.stream("GET", "/v1/watch", extensions=fleet.agents["fra1"].name) as held,
            ):
                told = held.aiter_raw()
                await anext(told)
                fleet.rotate()
                await fleet.rotated()
                with pytest.raises(httpx.TransportError):
                    await to_the_end(told)
            now = current(fleet.panel)
            assert now.fingerprint != before.fingerprint
            assert all(trusts_alone(agent, now) for agent in fleet.agents.values())
            assert {node.trusts for node in fleet.nodes()} == {Trust.CURRENT}
            with fleet.panel.store.read() as tx:
                valid = certificates.page(tx, limit=1000, valid=True)
            assert {row.issuer for row in valid} == {now.name}
            both = before.certificate_pem + now.certificate_pem
            assert not await asks(fleet, "fra1", stolen, both)
            assert not await asks(fleet, "fra1", before.issue_panel_client(clock.now()), both)
            assert await asks(fleet, "fra1", fleet.file(now), now.certificate_pem)

    with_agents(fleet, test)


def test_nobody_is_disconnected_meanwhile(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[str] = []
    reported = nodes.reported

    def watched(tx: object, node_id: str, *, connected: bool, **rest: object) -> None:
        if not connected:
            lost.append(f"{node_id}: {rest}")
        reported(tx, node_id, connected=connected, **rest)  # type: ignore[arg-type]

    async def test() -> None:
        async with running(fleet):
            await fleet.connected()
            monkeypatch.setattr(nodes, "reported", watched)
            fleet.rotate()
            await fleet.rotated()
            assert lost == []

    with_agents(fleet, test)


async def to_the_end(lines: AsyncIterator[bytes]) -> None:
    async with asyncio.timeout(5):
        async for _ in lines:
            pass


class KilledError(BaseException):
    """Stands for the end of the panel."""


# Where a panel can be killed: before or after the nth call of one of its steps.
BLOWS = [
    (owner, name, nth, when)
    for when in ("before", "after")
    for owner, name, times in (
        (AgentClient, "install_certificate", (1, 2, 3, 4)),
        (nodes, "renewing", (2, 4)),
        (nodes, "renewed", (2, 4)),
        (authority_rotation, "advance", (1, 2)),
    )
    for nth in times
]


@pytest.mark.parametrize(("owner", "name", "nth", "when"), BLOWS)
def test_a_panel_that_is_killed_goes_on_where_it_was(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, nth: int, when: str
) -> None:
    dead, calls, loops = asyncio.Event(), 0, list[asyncio.AbstractEventLoop]()
    real = getattr(owner, name)

    def is_the_last() -> bool:
        nonlocal calls
        calls += 1
        return calls >= nth

    async def later(*args: object) -> None:
        if is_the_last():
            if when == "after" and calls == nth:
                await real(*args)
            dead.set()
            await asyncio.Event().wait()  # nothing more happens in a dead process
        await real(*args)

    def at_once(tx: object, *args: object) -> object:
        if is_the_last():
            loops[0].call_soon_threadsafe(dead.set)
            if when == "after" and calls == nth:
                return real(tx, *args)
            raise KilledError
        return real(tx, *args)

    async def test() -> None:
        loops.append(asyncio.get_running_loop())
        before = current(fleet.panel)
        monkeypatch.setattr(owner, name, later if owner is AgentClient else at_once)
        async with running(fleet):
            await fleet.connected()
            fleet.rotate()
            async with asyncio.timeout(20):
                await dead.wait()
            await asyncio.sleep(0.1)  # connections that are being opened would be left behind open
        monkeypatch.setattr(owner, name, real)
        async with running(fleet):
            await fleet.rotated()
        now = current(fleet.panel)
        assert now.fingerprint != before.fingerprint
        assert all(trusts_alone(agent, now) for agent in fleet.agents.values())

    with_agents(fleet, test, NAMES[:2])


def test_an_agent_that_is_away_is_waited_for_and_catches_up(fleet: Fleet) -> None:
    async def test() -> None:
        async with running(fleet):
            await fleet.connected()
            await fleet.stop("lon1")
            await fleet.soon(lambda: not fleet.node("lon1").connected)
            fleet.rotate()
            await fleet.soon(lambda: fleet.waits_for() == ["lon1"])
            with pytest.raises(Conflict, match="it waits for lon1"):
                fleet.rotate()
            assert fleet.state().step is AuthorityStep.SPREAD
            await fleet.wake("lon1")
            await fleet.rotated()
            assert all(trusts_alone(agent, current(fleet.panel)) for agent in fleet.agents.values())

    with_agents(fleet, test)


def test_an_agent_that_goes_away_between_the_steps_is_waited_for_again(fleet: Fleet) -> None:
    async def test() -> None:
        async with running(fleet):
            await fleet.connected()
            await fleet.stop("lon1")
            fleet.rotate()
            await fleet.soon(lambda: fleet.waits_for() == ["lon1"])
            await fleet.stop("ams1")
            await fleet.wake("lon1")
            await fleet.soon(lambda: fleet.state().step is AuthorityStep.DROPPED and fleet.waits_for() == ["ams1"])
        async with running(fleet):
            await fleet.connected("fra1", "lon1")
            await fleet.wake("ams1")
            await fleet.rotated()
            assert all(trusts_alone(agent, current(fleet.panel)) for agent in fleet.agents.values())

    with_agents(fleet, test)


def test_an_agent_that_could_not_store_its_certificate_for_long_is_known_when_it_is_started_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        tried: list[str] = []
        real = StateDirectory.write_certificate

        def full(state: StateDirectory, **files: bytes) -> None:
            if state.root.name == "lon1":
                tried.append(state.root.name)
                raise OSError(28, "No space left on device")
            real(state, **files)

        async with running(fleet):
            await fleet.connected()
            with monkeypatch.context() as disk:
                disk.setattr(StateDirectory, "write_certificate", full)
                fleet.rotate()
                await fleet.soon(lambda: len(tried) >= 5)
                assert fleet.waits_for() == ["lon1"]
                await fleet.stop("lon1")
            await fleet.wake("lon1")
            await fleet.rotated()

    with_agents(fleet, test)


def test_one_that_will_not_come_back_is_left_behind_by_revoking_its_certificate(fleet: Fleet) -> None:
    async def test() -> None:
        async with running(fleet):
            await fleet.connected()
            await fleet.stop("lon1")
            fleet.rotate()
            await fleet.soon(lambda: fleet.waits_for() == ["lon1"])
            with fleet.panel.store.write() as tx:
                [row] = certificates.valid_of_node(tx, fleet.node("lon1").id)
                revocations.revoke(tx, "test", row)
            await fleet.rotated()

    with_agents(fleet, test)


def test_one_whose_certificate_has_expired_can_be_left_behind_as_well(fleet: Fleet) -> None:
    async def test() -> None:
        async with running(fleet):
            await fleet.connected()
            await fleet.stop("lon1")
            with fleet.panel.store.write() as tx:
                node = nodes.get(tx, "lon1")
                [row] = certificates.valid_of_node(tx, node.id)
                row.expires_at = node.certificate_expires_at = clock.now() - 1
            fleet.rotate()
            await fleet.soon(lambda: fleet.waits_for() == ["lon1"])
            with fleet.panel.store.write() as tx:
                [row] = certificates.valid_of_node(tx, fleet.node("lon1").id)
                assert "enroll again anyway" in revocations.ends(tx, row)
                revocations.revoke(tx, "test", row)
            await fleet.rotated()

    with_agents(fleet, test)


@pytest.mark.parametrize("step", AuthorityStep)
def test_an_agent_that_enrolls_meanwhile_gets_what_the_step_asks_for(fleet: Fleet, step: AuthorityStep) -> None:
    fleet.rotate()
    if step is AuthorityStep.DROPPED:
        with fleet.panel.store.write() as tx:
            authority_rotation.advance(tx, fleet.panel.vault)
    state = fleet.state()
    trusts = state.trust_of_newcomers
    assert state.step is step
    if step is AuthorityStep.SPREAD:
        assert (trusts, state.issuer(trusts)) == (Trust.BOTH, state.current)
        assert state.given(trusts) == pem_of(state.trusted)
        assert state.newest is state.current
    else:
        assert (trusts, state.issuer(trusts)) == (Trust.NEXT, state.next)
        assert state.next is not None
        assert state.given(trusts) == state.next.certificate_pem
        assert state.newest is state.next


def test_a_deleted_node_that_never_heard_of_it_is_given_up(fleet: Fleet) -> None:
    async def test() -> None:
        async with running(fleet):
            await fleet.connected()
            await fleet.stop("lon1")
            await fleet.soon(lambda: not fleet.node("lon1").connected)
            with fleet.panel.store.write() as tx:
                nodes.delete(tx, "test", nodes.get(tx, "lon1"), force=True)
                assert [each.name for each in authority_rotation.departed_without(tx)] == ["lon1"]
            del fleet.agents["lon1"]
            fleet.rotate()
            await fleet.rotated()
            with fleet.panel.store.read() as tx:
                assert nodes.departed(tx) == []

    with_agents(fleet, test)
