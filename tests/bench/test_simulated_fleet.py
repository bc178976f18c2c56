"""The simulated fleet of the benchmarks speaks as a real one: it is called by the panel's own client."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.simulated.agent import FEATURES, UNASKED, SimulatedAgent
from bench.simulated.connection import Tally
from bench.simulated.fleet import free_block
from bench.simulated.handlers import answer
from bench.simulated.interface import change_line, snapshot_line
from bench.simulated.responder import Interface
from bench.simulated.sessions import HANDSHAKE_S, LiveSessions, age_s, endpoint_of
from tests.agent.values import peers, private_key, settings, whole
from wgfleet.agent.enrollment.certificates import make_request
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.panel.agents import tls
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.agents.authority import (
    Authority,
    agent_server_name,
    certificate_expires_at,
    described,
)
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.certificates import RevokedSerial
from wgfleet.panel.errors import TransientError
from wgfleet.protocol import features
from wgfleet.protocol.desired import Push, delta_between
from wgfleet.protocol.handshake import Answer, Ephemeral, initiate, pair, read_answer, tai64n
from wgfleet.protocol.ids import Generation, InterfaceName
from wgfleet.protocol.keys import public_key_of
from wgfleet.protocol.messages import (
    AGENT_PORT,
    Change,
    Heartbeat,
    ProbeRequest,
    ProbeTarget,
    Snapshot,
    Takeover,
    TakeoverPeer,
    WatchMessage,
)
from wgfleet.protocol.observed import PeerStats
from wgfleet.protocol.panel_name import PanelName

NODE = "node1"


class Around:
    """Surroundings in which one address is silent; what the agent says is kept."""

    share = 1.0

    def __init__(self) -> None:
        self.tally = Tally()
        self.held: list[tuple[str, int, str | None]] = []
        self.calls: list[list[str]] = []

    def is_silent(self, address: str) -> bool:
        return address == "192.0.2.2"

    def hold(self, address: str, port: int, private_key: str | None) -> None:
        self.held.append((address, port, private_key))

    def pushed(self, node_id: str, push: Push, size: int) -> None:
        assert node_id == NODE
        assert push.generation
        assert size

    def called(self, node_id: str, keys: list[str]) -> None:
        assert node_id == NODE
        self.calls.append(keys)


Script = Callable[[AgentClient, SimulatedAgent, Around, Authority], Awaitable[None]]


@pytest.fixture
def meet(tmp_path: Path) -> Callable[[Script], None]:
    """Run a script between the panel's client and a simulated agent, over mutual TLS."""
    authority = Authority.create("test", time.time())
    state = StateDirectory(tmp_path / "state")
    state.make()
    key, csr = make_request(NODE)
    certificate = authority.issue_agent(csr, NODE, time.time())
    state.write_certificate(key=key, certificate=certificate.encode(), ca=authority.certificate_pem.encode())
    context = tls.client_context(authority.certificate_pem, authority.issue_panel_client(time.time()))

    async def run(script: Script) -> None:
        around = Around()
        agent = SimulatedAgent(NODE, f"127.{free_block()}.0.1", state, around, answer)
        await agent.open()
        client = AgentClient(agent.address, AGENT_PORT, NODE, context, PanelName("panel", 1, "a"))
        client.features = features.ALL
        try:
            async with asyncio.timeout(20):
                await script(client, agent, around, authority)
        finally:
            await client.aclose()
            agent.close()

    return lambda script: asyncio.run(run(script))


def test_it_has_every_feature_that_an_agent_has() -> None:
    # A feature that is new has to be simulated too, or the figures are those of an old agent.
    assert features.ALL == FEATURES | UNASKED


def test_it_takes_wholes_and_deltas_and_refuses_what_a_real_agent_refuses(meet: Callable[[Script], None]) -> None:
    async def script(client: AgentClient, agent: SimulatedAgent, around: Around, _authority: Authority) -> None:
        first = whole(3, settings(), peers(2))
        more = msgspec.structs.replace(first, generation=Generation(4), peers={**first.peers, **peers(1)})
        assert (await client.push(first)).generation == 3
        applied = await client.push(delta_between(first, more))
        assert (applied.generation, applied.verified) == (4, True)
        assert agent.interfaces["wg0"].peers == set(more.peers)
        assert around.held[-1] == (agent.address, 51820, first.settings.private_key)
        with pytest.raises(AgentRefused) as refused:
            await client.push(delta_between(first, more))
        assert refused.value.refusal.reason == "base_mismatch"
        with pytest.raises(AgentRefused) as refused:
            await client.delete("wg0", first.settings.config_id, 3)
        assert refused.value.refusal.reason == "older_generation"
        await client.unmute("wg0")
        await client.delete("wg0", first.settings.config_id, 5)
        assert (await client.status()).interfaces == ()
        assert [key for _, _, key in around.held][-1] is None

    meet(script)


def test_its_messages_have_all_fields_that_an_agent_sends() -> None:
    def fields(kind: type[msgspec.Struct]) -> set[str]:
        return {"type", *kind.__struct_fields__}

    def keys(line: bytes) -> set[str]:
        return set(msgspec.json.decode(line, type=dict[str, Any]))

    # `gone` is sent when an interface is.
    assert keys(change_line(b"{}")) == fields(Change) - {"gone"}
    assert keys(snapshot_line(b"{}", [])) == fields(Snapshot)


def test_its_stream_begins_with_all_sessions_and_goes_on_with_those_that_moved(meet: Callable[[Script], None]) -> None:
    async def script(client: AgentClient, agent: SimulatedAgent, around: Around, _authority: Authority) -> None:
        pushed = whole(1, settings(), peers(3))
        await client.push(pushed)
        agent.live("wg0", {key: endpoint_of(number) for number, key in enumerate(pushed.peers)})
        messages: asyncio.Queue[WatchMessage] = asyncio.Queue()
        watching = asyncio.create_task(client.watch(messages.put_nowait))
        snapshot = await messages.get()
        assert isinstance(snapshot, Snapshot)
        assert snapshot.interfaces[0].peers.keys() == pushed.peers.keys()
        assert agent.holds_back_s > HANDSHAKE_S
        agent.scan()
        assert messages.empty(), "counters are held back as long as the panel wants"
        agent.holds_back_s = 0.0
        agent.scan()
        agent.beat()
        change, beat = await messages.get(), await messages.get()
        assert isinstance(change, Change)
        assert isinstance(beat, Heartbeat)
        assert beat.load is not None
        assert beat.mark is not None
        assert change.interfaces[0].peers.keys() == pushed.peers.keys()
        assert (around.tally.samples, around.tally.messages, around.tally.dropped) == (6, 3, 0)
        agent.die()
        agent.beat()
        assert around.tally.messages == 3
        watching.cancel()
        await asyncio.wait([watching])

    meet(script)


def test_its_clients_answer_a_takeover_and_the_next_scan_reports_them(meet: Callable[[Script], None]) -> None:
    async def script(client: AgentClient, agent: SimulatedAgent, around: Around, _authority: Authority) -> None:
        pushed = whole(1, settings(), peers(2))
        await client.push(pushed)
        called = next(iter(pushed.peers))
        result = await client.takeover("wg0", Takeover((TakeoverPeer(called, "192.0.2.7:1000"),)))
        assert list(result.answered) == [called]
        assert around.calls == [[called]]
        assert agent.interfaces["wg0"].sessions.keys == [called]
        stranger = TakeoverPeer(public_key_of(private_key()), "192.0.2.7:1000")
        with pytest.raises(AgentRefused, match=r"peers\[0\].public_key"):
            await client.takeover("wg0", Takeover((stranger,)))

    meet(script)


def test_it_says_of_a_dead_node_that_it_does_not_answer(meet: Callable[[Script], None]) -> None:
    async def script(client: AgentClient, _agent: SimulatedAgent, _around: Around, _authority: Authority) -> None:
        await client.push(whole(1, settings(), {}))
        key = private_key()
        targets = tuple(ProbeTarget(f"192.0.2.{last}:51820", public_key_of(key), key) for last in (1, 2))
        result = await client.probe(ProbeRequest(InterfaceName("wg0"), targets, timeout_s=0.01))
        assert list(result.answered) == ["192.0.2.1:51820"]
        assert result.unanswered == ("192.0.2.2:51820",)

    meet(script)


def test_it_shows_a_renewed_certificate(meet: Callable[[Script], None]) -> None:
    async def script(client: AgentClient, _agent: SimulatedAgent, _around: Around, authority: Authority) -> None:
        csr = await client.request_certificate()
        certificate = authority.issue_agent(csr, NODE, time.time(), days=3)
        await client.install_certificate(certificate, authority.certificate_pem)
        assert (await client.status()).certificate_expires_at == certificate_expires_at(certificate)

    meet(script)


def test_a_panel_whose_certificate_was_revoked_is_not_answered(meet: Callable[[Script], None]) -> None:
    async def script(client: AgentClient, agent: SimulatedAgent, _around: Around, authority: Authority) -> None:
        stolen = authority.issue_panel_client(time.time())
        context = tls.client_context(authority.certificate_pem, stolen)
        thief = AgentClient(agent.address, AGENT_PORT, NODE, context, PanelName("panel", 1, "a"))
        assert (await thief.status()).node_id == NODE
        serial = RevokedSerial(described(stolen.certificate).serial or "", time.time())
        await client.revoke(authority.revocation_list([serial], 1, time.time()))
        with pytest.raises(TransientError):
            await thief.status()
        await thief.aclose()
        assert (await client.status()).node_id == NODE

    meet(script)


def test_nobody_but_the_panel_is_answered(meet: Callable[[Script], None]) -> None:
    async def script(_client: AgentClient, agent: SimulatedAgent, _around: Around, authority: Authority) -> None:
        context = ssl.create_default_context(cadata=authority.certificate_pem)
        name = agent_server_name(NODE)
        reader, writer = await asyncio.open_connection(agent.address, AGENT_PORT, ssl=context, server_hostname=name)
        writer.write(b"GET /v1/status HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ssl.SSLError):
            assert await reader.read() == b""
        writer.transport.abort()

    meet(script)


def test_an_older_panel_is_refused(meet: Callable[[Script], None]) -> None:
    async def script(client: AgentClient, agent: SimulatedAgent, _around: Around, _authority: Authority) -> None:
        assert agent.panels.refusal("panel 2 b") is None
        with pytest.raises(AgentRefused) as refused:
            await client.status()
        assert refused.value.refusal.reason == "older_panel"

    meet(script)


def test_the_responder_answers_as_wireguard_does() -> None:
    mine, theirs = private_key(), private_key()
    pairing, interface = pair(mine, public_key_of(theirs)), Interface(theirs)
    for number in range(2):
        initiation = initiate(pairing, Ephemeral(), tai64n(number), 7 + number)
        packet = interface.respond(initiation.packet)
        assert packet is not None
        assert read_answer(pairing, initiation, packet) is Answer.RESPONSE
        assert Interface(mine).respond(initiation.packet) is None
        assert interface.respond(initiation.packet[:-1]) is None


def stats(fields: str) -> dict[str, PeerStats]:
    return msgspec.json.decode(f"{{{fields}}}", type=dict[str, PeerStats])


def test_each_counter_moves_once_in_as_many_scans_as_the_share_says() -> None:
    keys = [f"key{number}" for number in range(10)]
    sessions = LiveSessions({key: endpoint_of(number) for number, key in enumerate(keys)}, share=0.2)
    now = time.time()
    before = stats(sessions.whole())
    assert list(before) == keys
    assert len({seen.endpoint for seen in before.values()}) == 10
    assert all(now - HANDSHAKE_S - 1 <= seen.latest_handshake <= now for seen in before.values())
    moved = [stats(sessions.scan(now + turn / 100)[0]) for turn in range(5)]
    assert sorted(key for scan in moved for key in scan) == keys
    assert age_s(moved[0]["key0"].rx, now + 3) == pytest.approx(3, abs=0.01)


def test_every_session_shakes_hands_each_two_minutes() -> None:
    sessions = LiveSessions({f"key{number}": endpoint_of(number) for number in range(6)}, share=0)
    now = time.time()
    shaken = [stats(sessions.scan(now + 1 + later)[0]) for later in (0, 20, 40, 60, 80, 100, 119)]
    sessions_seen = [key for scan in shaken[1:] for key in scan]
    assert sorted(set(sessions_seen)) == [f"key{number}" for number in range(6)]
    assert all(
        seen.latest_handshake == int(now + 1 + later)
        for scan, later in zip(shaken[1:], (20, 40, 60, 80, 100, 119), strict=True)
        for seen in scan.values()
    )
