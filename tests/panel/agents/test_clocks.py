"""Certificates and clocks: who is hours or days off loses nobody, and says so."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest
from cryptography import x509

from tests.panel.authority import keep
from tests.panel.world import World
from wgfleet.agent.enrollment.certificates import check_certificate, make_request
from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority, certificate_expires_at, renewal_due
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents.clock_check import check, panel_ahead_s
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.store import nodes as node_rows
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import AgentStatus

DAY_S = 86400.0
HOUR_S = 3600.0


@dataclass
class Agent:
    """An agent whose clock says `now`; it takes what certificates it is given as the real one does."""

    now: float
    installed: list[str] = field(default_factory=list)
    key: bytes = b""
    keys: frozenset[str] = frozenset()
    shown_key: str | None = None

    async def request_certificate(self) -> str:
        self.key, csr = make_request("n1")
        return csr

    def accept_keys(self, keys: list[str]) -> None:
        """Note what it may show."""
        self.keys = frozenset(keys)

    async def install_certificate(self, certificate: str, _ca: str) -> None:
        self.installed.append(certificate)


def connected(world: World, node_id: str, agent: Agent) -> AgentConnection:
    connection = AgentConnection(node_id, cast("AgentClient", agent), world.store, lambda: None)
    connection.connected = True
    connection.status = AgentStatus(NodeId(node_id), "1", "kernel", 0.0, agent.now, 0.0, 1.0, ())
    connection._set_by(agent.now)  # noqa: SLF001 - what its snapshot does
    return connection


def fleet(world: World, *agents: Agent) -> list[AgentConnection]:
    found = []
    for number, agent in enumerate(agents):
        node = world.node(f"n{number}")
        with world.store.write() as tx:
            node_rows.set_values(tx, node.id, {"certificate_expires_at": clock.now() + 60 * DAY_S})
        found.append(connected(world, node.id, agent))
    return found


@pytest.mark.parametrize("off_s", [61 * DAY_S, 7 * HOUR_S, -7 * HOUR_S, -61 * DAY_S])
def test_a_panel_whose_clock_is_off_renews_nothing_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, off_s: float
) -> None:
    real = clock.now
    agents = [Agent(real()) for _ in range(3)]
    connections = fleet(world, *agents)
    authorities = keep(world.store, world.vault)
    pusher = Pusher(world.store, world.vault, authorities, 90, {each.node_id: each for each in connections})
    monkeypatch.setattr(clock, "now", lambda: real() + off_s)
    with world.store.write() as tx:
        node_rows.set_values(tx, connections[0].node_id, {"certificate_expires_at": clock.now() + DAY_S})

    async def run() -> str:
        try:
            return (await pusher.cycle(connections[0])).summary
        finally:
            await pusher.close()

    summary = asyncio.run(run())
    assert agents[0].installed == []
    assert "the panel's clock is" in summary
    assert ("ahead of" if off_s > 0 else "behind") in summary
    monkeypatch.setattr(clock, "now", real)
    with world.store.write() as tx:
        node_rows.set_values(tx, connections[0].node_id, {"certificate_expires_at": real() + DAY_S})
    again = Pusher(world.store, world.vault, authorities, 90, {each.node_id: each for each in connections})
    asyncio.run(again.cycle(connections[0]))
    assert len(agents[0].installed) == 1, "renewed as soon as the clock is right"


def renewed(world: World, connections: list[AgentConnection]) -> list[str]:
    """Have the certificates of agents be due, and a cycle with each; return what was said of them."""
    for connection in connections:
        with world.store.write() as tx:
            node_rows.set_values(tx, connection.node_id, {"certificate_expires_at": clock.now() + DAY_S})
    authorities = keep(world.store, world.vault)
    pusher = Pusher(world.store, world.vault, authorities, 90, {each.node_id: each for each in connections})

    async def run() -> list[str]:
        return [(await pusher.cycle(connection)).summary for connection in connections]

    return asyncio.run(run())


def test_one_agent_whose_clock_is_off_keeps_no_other_from_its_certificate(world: World) -> None:
    agents = [Agent(clock.now()), Agent(clock.now()), Agent(clock.now() - 40 * DAY_S)]
    summaries = renewed(world, fleet(world, *agents))
    assert [len(agent.installed) for agent in agents] == [1, 1, 0]
    assert "clock" in summaries[2]


@pytest.mark.parametrize("off_s", [-40 * DAY_S, 40 * DAY_S])
def test_one_of_two_agents_keeps_the_other_from_nothing_by_what_it_says_of_the_time(world: World, off_s: float) -> None:
    agents = [Agent(clock.now()), Agent(clock.now() + off_s)]
    connections = fleet(world, *agents)
    assert abs(panel_ahead_s(connections) or 0.0) < 1
    summaries = renewed(world, connections)
    assert [len(agent.installed) for agent in agents] == [1, 0]
    assert "clock" in summaries[1]


def test_nobody_who_could_say_the_time_holds_nothing_up(world: World) -> None:
    silent = AgentConnection("n1", cast("AgentClient", Agent(0.0)), world.store, lambda: None)
    assert panel_ahead_s([silent]) is None
    check(None)
    with pytest.raises(TransientError, match=r"2\.0 days ahead"):
        check(2 * DAY_S)


@pytest.mark.parametrize("behind_s", [0.0, 2 * HOUR_S, 2 * DAY_S, 6 * DAY_S])
def test_a_machine_whose_clock_is_behind_takes_fresh_certificates(behind_s: float) -> None:
    now = clock.now()
    authority = Authority.create("test", now)
    for pem in (authority.issue_panel_client(now).certificate, authority.certificate_pem):
        certificate = x509.load_pem_x509_certificate(pem.encode())
        assert certificate.not_valid_before_utc.timestamp() <= now - behind_s


@pytest.mark.parametrize(("off_s", "word"), [(-8 * DAY_S, "begins at"), (91 * DAY_S, "ended at")])
def test_an_agent_refuses_a_certificate_that_is_not_valid_by_its_own_clock(off_s: float, word: str) -> None:
    now = clock.now()
    key, csr = make_request("n1")
    certificate = Authority.create("test", now).issue_agent(csr, "n1", now)
    check_certificate(key=key, certificate=certificate, node_id=NodeId("n1"), now=now)
    with pytest.raises(FieldError, match=word) as caught:
        check_certificate(key=key, certificate=certificate, node_id=NodeId("n1"), now=now + off_s)
    assert caught.value.field == "certificate"
    assert "set its clock" in str(caught.value)


def test_what_a_clock_issued_that_was_ahead_is_replaced_once_it_is_right() -> None:
    now = clock.now()
    identity = Authority.create("test", now).issue_panel_client(now + 61 * DAY_S)
    assert renewal_due(identity.expires_at, now)
    assert not renewal_due(certificate_expires_at(identity.certificate), now + 61 * DAY_S)
