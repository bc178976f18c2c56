"""A revoked certificate is refused within a second; the panel that revokes its own stays connected with another."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.agent.doors import Agent, listening
from tests.panel.agents.conftest import stream_of
from tests.panel.authority import current
from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Identity, described
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.certificates import NO_KEY
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile.agents import connections, own_certificates
from wgfleet.panel.reconcile.agents.panel_start import BegunStart, begin
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.supervisor import Supervisor
from wgfleet.panel.services import certificates
from wgfleet.panel.services.fleet import node_agents, nodes, revocations
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.store.tables import IssuedCertificate, Node


@dataclass
class Fleet:
    """A running panel with one agent."""

    panel: Panel
    agent: Agent
    node_id: str
    start: BegunStart

    def node(self) -> Node:
        with self.panel.store.read() as tx:
            return nodes.get(tx, self.node_id)

    def row(self, certificate: Identity) -> IssuedCertificate:
        with self.panel.store.read() as tx:
            return certificates.get(tx, str(described(certificate.certificate).serial))

    def revoke(self, reference: str) -> None:
        with self.panel.store.write() as tx:
            revocations.revoke(tx, "key:admin", certificates.get(tx, reference))

    def file(self) -> Identity:
        """Issue what a person calls agents with."""
        identity = current(self.panel).issue_panel_client(clock.now())
        with self.panel.store.write() as tx:
            certificates.of_client(tx, "panel", described(identity.certificate))
        return identity

    async def soon(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - rows have no event
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(panel: Panel, folder: Path, known: str) -> AsyncIterator[Fleet]:
    with panel.store.write() as tx:
        node = nodes.create(tx, "test", NodeSpec("fra1", ["192.0.2.1"], agent_host="127.0.0.1"))
    async with listening(folder, current(panel), node.id, *stream_of(clock.now(), known)) as agent:
        with panel.store.write() as tx:
            issued = described(agent.state.certificate.read_text())
            node_agents.enrolled(tx, nodes.get(tx, node.id), agent_port=agent.port, issued=issued)
        start = begin(panel.store, panel.vault, panel.authorities, 90)
        parts = panel.store, panel.vault, panel.authorities, panel.publisher, panel.settings
        supervisor = Supervisor(*parts, Outlook(), start)
        supervisor.start()
        try:
            fleet = Fleet(panel, agent, node.id, start)
            await fleet.soon(lambda: fleet.node().connected)
            yield fleet
        finally:
            await supervisor.close()


def with_a_panel(
    panel: Panel, folder: Path, test: Callable[[Fleet], Awaitable[None]], known: str = "features history revoked"
) -> None:
    async def run() -> None:
        async with running(panel, folder, known) as fleet:
            await test(fleet)

    asyncio.run(run())


async def cut_off(fleet: Fleet, identity: Identity, then: Callable[[], None]) -> float:
    """Hold a stream with a certificate, do something, and return after how many s the stream ends."""
    async with (
        fleet.agent.client(identity) as client,
        client.stream("GET", "/v1/watch", extensions=fleet.agent.name) as held,
    ):
        lines = held.aiter_raw()
        await anext(lines)
        await asyncio.to_thread(then)
        begun = time.monotonic()
        with pytest.raises(httpx.TransportError):
            await _to_the_end(lines)
    return time.monotonic() - begun


async def _to_the_end(lines: AsyncIterator[bytes]) -> None:
    async with asyncio.timeout(20):
        async for _ in lines:
            pass


def test_a_file_with_the_panels_certificate_ends_when_it_is_revoked(panel: Panel, tmp_path: Path) -> None:
    async def test(fleet: Fleet) -> None:
        stolen = fleet.file()
        row = fleet.row(stolen)
        assert await fleet.agent.asks(stolen)
        assert await cut_off(fleet, stolen, lambda: fleet.revoke(row.id)) < 1.0
        assert not await fleet.agent.asks(stolen)
        await fleet.soon(lambda: fleet.node().revocations == fleet.row(stolen).revocation)
        assert fleet.node().connected

    with_a_panel(panel, tmp_path, test)


def test_a_panel_that_revokes_its_own_certificate_has_another_before(panel: Panel, tmp_path: Path) -> None:
    async def test(fleet: Fleet) -> None:
        own = fleet.start.certificate
        await asyncio.to_thread(fleet.revoke, own.id)
        await fleet.soon(lambda: fleet.node().revocations == fleet.row(own.identity).revocation)
        assert fleet.agent.refused == [], "it was never turned away itself"
        assert not await fleet.agent.asks(own.identity)
        await fleet.soon(lambda: fleet.node().connected)
        with panel.store.read() as tx:
            [mine] = [row for row in certificates.page(tx, valid=True) if row.panel_start == fleet.start.name.number]
        assert mine.id != own.id
        # And again, with the one that took its place.
        await asyncio.to_thread(fleet.revoke, mine.id)
        newest = fleet.row(own.identity).revocation or 0
        await fleet.soon(lambda: (fleet.node().revocations or 0) > newest and fleet.node().connected)

    with_a_panel(panel, tmp_path, test)


def test_what_was_revoked_before_an_agent_was_connected_reaches_it(panel: Panel, tmp_path: Path) -> None:
    before = begin(panel.store, panel.vault, panel.authorities, 90).certificate
    with panel.store.write() as tx:
        revocations.revoke(tx, "key:admin", certificates.get(tx, before.id))

    async def test(fleet: Fleet) -> None:
        await fleet.soon(lambda: fleet.node().revocations == fleet.row(before.identity).revocation)
        assert not await fleet.agent.asks(before.identity)

    with_a_panel(panel, tmp_path, test)


def test_an_agent_that_does_not_know_of_revocations_gets_none(panel: Panel, tmp_path: Path) -> None:
    async def test(fleet: Fleet) -> None:
        stolen = fleet.file()
        await asyncio.to_thread(fleet.revoke, fleet.row(stolen).id)
        await asyncio.sleep(1)
        assert await fleet.agent.asks(stolen)
        assert (fleet.node().connected, fleet.node().revocations) == (True, None)

    with_a_panel(panel, tmp_path, test, known="")


def test_an_agent_whose_certificate_is_revoked_loses_its_connection(panel: Panel, tmp_path: Path) -> None:
    async def test(fleet: Fleet) -> None:
        serial = str(described(fleet.agent.state.certificate.read_text()).serial)
        await asyncio.to_thread(fleet.revoke, serial)
        await fleet.soon(lambda: not fleet.node().connected and "replaced or revoked" in fleet.node().summary)

    with_a_panel(panel, tmp_path, test)


def test_a_connection_from_before_a_renewal_ends_when_the_key_of_then_is_revoked(panel: Panel, tmp_path: Path) -> None:
    async def test(fleet: Fleet) -> None:
        shown = described(fleet.agent.state.certificate.read_text())

        def renew() -> None:
            with panel.store.write() as tx:
                node_agents.renewing(tx, fleet.node_id, shown._replace(serial="1", key="new"), [shown.key])

        await asyncio.to_thread(renew)
        await asyncio.to_thread(fleet.revoke, str(shown.serial))
        await fleet.soon(lambda: not fleet.node().connected)
        assert fleet.node().agent_keys == [NO_KEY]

    with_a_panel(panel, tmp_path, test)


def test_a_certificate_that_could_not_be_listed_is_not_used(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "RENEWAL_CHECK_S", 0.05)
    monkeypatch.setattr(own_certificates, "renewal_due", lambda *_: True)
    taken: list[int] = []

    def go_on(*_: object) -> None:
        taken.append(1)
        raise Unavailable("the database is away")

    monkeypatch.setattr(own_certificates, "go_on", go_on)

    async def test(fleet: Fleet) -> None:
        await fleet.soon(lambda: bool(taken))
        assert await fleet.agent.asks(fleet.start.certificate.identity)
        assert fleet.node().connected

    with_a_panel(panel, tmp_path, test)
