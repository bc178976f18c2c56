"""The client of an agent's API against a real TLS server: answers, refusals, wrong certificates, broken streams."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import pytest

import wgfleet
from tests.panel.agents.conftest import HEARTBEAT, NODE, SNAPSHOT, ScriptedAgent, serve
from wgfleet.panel.agents import attention, tls
from wgfleet.panel.agents import client as client_module
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.agents.authority import Authority, key_digest
from wgfleet.panel.agents.client import SILENCE_S, AgentClient
from wgfleet.panel.errors import TransientError
from wgfleet.protocol import features
from wgfleet.protocol.desired import DesiredInterface, InterfaceDelta, InterfaceSettings, Push
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import (
    HEARTBEAT_S,
    Heartbeat,
    ProbeRequest,
    ProbeResult,
    ProbeTarget,
    Snapshot,
    Takeover,
    TakeoverPeer,
    WatchMessage,
)

T = TypeVar("T")
KEY = "A" * 43 + "="
WG0 = InterfaceName("wg0")
WHOLE = DesiredInterface(Generation(7), InterfaceSettings(WG0, ConfigId("c1"), PrivateKey(KEY), 51820), {})
DELTA = InterfaceDelta(name=WG0, config_id=ConfigId("c1"), base=Generation(7), generation=Generation(8))
APPLIED = b'{"generation":7,"changed":true,"verified":true,"seconds":0.1}'


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that no test is about are long: client and agent share a process on a machine that may be busy."""
    monkeypatch.setattr(client_module, "CONNECT_S", 60.0)
    monkeypatch.setattr(client_module, "SILENCE_S", 60.0)


def call(context: ssl.SSLContext, port: int, work: Callable[[AgentClient], Awaitable[T]], *, node: str = NODE) -> T:
    async def run() -> T:
        client = AgentClient("127.0.0.1", port, node, context)
        try:
            return await work(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


async def collect(client: AgentClient, into: list[WatchMessage]) -> None:
    await client.watch(into.append)


@pytest.mark.parametrize("push", [WHOLE, DELTA])
def test_a_push_is_sent_as_the_protocol_says_and_its_answer_is_read(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, push: Push
) -> None:
    agent.answer = (200, APPLIED)
    applied = call(panel_context, agent.port, lambda client: client.push(push))
    assert (applied.generation, applied.verified) == (7, True)
    [(method, path, body)] = agent.requests
    assert (method, path) == ("PUT", "/v1/wg/wg0")
    assert msgspec.json.decode(body, type=Push) == push


def test_calls_share_one_connection(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.answer = (200, APPLIED)

    async def thrice(client: AgentClient) -> None:
        for _ in range(3):
            await client.push(DELTA)

    call(panel_context, agent.port, thrice)
    assert len(agent.requests) == 3
    assert len(agent.connections) == 1


def test_a_probe_says_who_answered(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.answer = (200, b'{"answered":{"192.0.2.1:51820":0.01},"unanswered":["192.0.2.2:51820"]}')
    targets = tuple(ProbeTarget(f"192.0.2.{i}:51820", PublicKey(KEY), PrivateKey(KEY)) for i in (1, 2))
    request = ProbeRequest(WG0, targets)
    result = call(panel_context, agent.port, lambda client: client.probe(request))
    assert result == ProbeResult({"192.0.2.1:51820": 0.01}, ("192.0.2.2:51820",))
    [(method, path, body)] = agent.requests
    assert (method, path) == ("POST", "/v1/probe")
    assert msgspec.json.decode(body, type=ProbeRequest) == request


def test_a_delete_carries_what_guards_it(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.answer = (204, b"")
    call(panel_context, agent.port, lambda client: client.delete("wg0", "c1", 9))
    call(panel_context, agent.port, lambda client: client.delete("wg0"))
    assert [path for _, path, _ in agent.requests] == ["/v1/wg/wg0?config_id=c1&generation=9", "/v1/wg/wg0"]


def test_a_takeover_says_who_answered(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.answer = (200, b'{"answered":{"%s":0.01},"unanswered":[]}' % KEY.encode())
    peers = (TakeoverPeer(PublicKey(KEY), "192.0.2.1:1"),)
    result = call(panel_context, agent.port, lambda client: client.takeover("wg0", Takeover(peers)))
    assert result.answered == {KEY: 0.01}
    assert agent.requests[0][:2] == ("POST", "/v1/wg/wg0/takeover")


def test_a_certificate_is_asked_for_and_put_back(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.answer = (200, b'{"csr":"text"}')
    assert call(panel_context, agent.port, lambda client: client.request_certificate()) == "text"
    agent.answer = (204, b"")
    call(panel_context, agent.port, lambda client: client.install_certificate("cert", "ca"))
    assert agent.requests[1] == ("PUT", "/v1/certificate", b'{"certificate":"cert","ca":"ca"}')


def test_a_refusal_comes_back_with_its_reason(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.answer = (
        409,
        b'{"title":"conflict","status":409,"detail":"wg0 has 9","reason":"older_generation","generation":9}',
    )
    with pytest.raises(AgentRefused, match="wg0 has 9") as caught:
        call(panel_context, agent.port, lambda client: client.push(WHOLE))
    assert (caught.value.refusal.reason, caught.value.refusal.generation) == ("older_generation", 9)
    assert KEY not in str(caught.value)


def test_a_refusal_in_another_form_is_still_a_refusal(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.answer = (404, b"Not Found")
    with pytest.raises(AgentRefused) as caught:
        call(panel_context, agent.port, lambda client: client.push(WHOLE))
    assert (caught.value.refusal.status, caught.value.refusal.reason) == (404, "unknown")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((507, b'{"title":"t","status":507,"detail":"disk is full","reason":"disk"}'), "disk is full"),
        ((500, b"oops"), "oops"),
        ((302, b""), "302"),
        ((200, b"[]"), "not of this protocol"),
        ((200, b""), "not of this protocol"),
    ],
)
def test_a_failing_agent_is_worth_another_try(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, answer: tuple[int, bytes], text: str
) -> None:
    agent.answer = answer
    with pytest.raises(TransientError, match=text):
        call(panel_context, agent.port, lambda client: client.push(WHOLE))


def test_an_agent_of_another_ca_is_not_talked_to(authority: Authority, panel_context: ssl.SSLContext) -> None:
    other, agent = Authority.create("other", time.time()), ScriptedAgent()
    identity = other.issue_server([f"{NODE}.node.wgfleet.internal"], [], time.time())
    with serve(agent, identity, authority), pytest.raises(TransientError, match=r"(?i)certificate verify failed"):
        call(panel_context, agent.port, lambda client: client.status())
    assert not agent.requests


def test_an_agent_with_a_replaced_key_is_not_talked_to(authority: Authority) -> None:
    """Its certificate is good for months; who took it from the node must not answer for it."""
    context = tls.client_context(authority.certificate_pem, authority.issue_panel_client(time.time()))
    identity = authority.issue_server([f"{NODE}.node.wgfleet.internal"], [], time.time())
    shown, other = key_digest(identity.certificate), "0" * 64
    agent = ScriptedAgent(answer=(200, APPLIED))

    async def push(client: AgentClient, *accepted: str) -> None:
        client.accept_keys(accepted)
        await client.push(WHOLE)

    with serve(agent, identity, authority):
        for accepted in ([shown], [other, shown], []):
            call(context, agent.port, lambda client, keys=accepted: push(client, *keys))  # type: ignore[misc]
        with pytest.raises(TransientError, match="was replaced"):
            call(context, agent.port, lambda client: push(client, other))
    assert len(agent.requests) == 3


def test_an_agent_of_another_node_is_not_talked_to(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    with pytest.raises(TransientError, match=r"(?i)hostname mismatch"):
        call(panel_context, agent.port, lambda client: client.status(), node="node2")
    assert not agent.requests


def test_the_panel_s_own_certificate_cannot_play_an_agent(authority: Authority, panel_context: ssl.SSLContext) -> None:
    agent = ScriptedAgent()
    with (
        serve(agent, authority.issue_panel_client(time.time()), authority),
        pytest.raises(TransientError, match=r"(?i)certificate verify failed"),
    ):
        call(panel_context, agent.port, lambda client: client.status())
    assert not agent.requests


def test_an_agent_that_does_not_accept_the_panel_is_worth_another_try(agent: ScriptedAgent) -> None:
    other = Authority.create("other", time.time())
    context = tls.client_context(other.certificate_pem, other.issue_panel_client(time.time()))
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(TransientError, match="node1"):
        call(context, agent.port, lambda client: client.status())
    assert not agent.requests


def test_a_closed_port_is_named(panel_context: ssl.SSLContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransientError, match=f"agent of node node1 at 127.0.0.1:{port}"):
        call(panel_context, port, lambda client: client.status())


def test_a_port_that_accepts_and_stays_silent_is_given_up(
    panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CONNECT_S", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(TransientError, match="cannot be reached in time"),
    ):
        call(panel_context, listener.getsockname()[1], lambda client: client.status())


def test_messages_come_whole_however_the_stream_is_cut_into_pieces(
    agent: ScriptedAgent, panel_context: ssl.SSLContext
) -> None:
    text = SNAPSHOT + HEARTBEAT + b"\n" + HEARTBEAT
    agent.stream = [text[i : i + 7] for i in range(0, len(text), 7)]
    seen: list[WatchMessage] = []
    with pytest.raises(TransientError, match="ended the watch stream"):
        call(panel_context, agent.port, lambda client: collect(client, seen))
    assert [type(message) for message in seen] == [Snapshot, Heartbeat, Heartbeat]


def test_a_stream_that_stops_sending_is_noticed_after_four_heartbeats(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SILENCE_S == 4 * HEARTBEAT_S
    monkeypatch.setattr(client_module, "SILENCE_S", 0.5)
    agent.stream = [SNAPSHOT, HEARTBEAT, 600.0]
    start = time.monotonic()
    with pytest.raises(TransientError, match="gone silent"):
        call(panel_context, agent.port, lambda client: collect(client, []))
    assert time.monotonic() - start >= 0.5


def test_a_torn_message_is_not_taken_for_one(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.stream = [SNAPSHOT, HEARTBEAT[:-5]]
    seen: list[WatchMessage] = []
    with pytest.raises(TransientError):
        call(panel_context, agent.port, lambda client: collect(client, seen))
    assert [type(message) for message in seen] == [Snapshot]


def test_a_message_that_is_none_ends_the_stream(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.stream = [SNAPSHOT, b'{"song":"type"}\n', 600.0]
    with pytest.raises(TransientError, match="not of this protocol"):
        call(panel_context, agent.port, lambda client: collect(client, []))


def test_a_message_without_end_does_not_fill_the_memory(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "MESSAGE_LIMIT", 100_000)
    agent.stream = [b"x" * 50_000] * 100
    with pytest.raises(TransientError, match="more than 100000 bytes"):
        call(panel_context, agent.port, lambda client: collect(client, []))


def test_an_answer_without_end_does_not_fill_the_memory(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "MESSAGE_LIMIT", 100_000)
    agent.answer = (200, b" " * 1_000_000)
    with pytest.raises(TransientError, match="more than 100000 bytes"):
        call(panel_context, agent.port, lambda client: client.status())


def test_a_new_identity_shows_in_new_connections(authority: Authority, agent: ScriptedAgent) -> None:
    expired = authority.issue_panel_client(time.time() - 100 * 86400)
    context = tls.client_context(authority.certificate_pem, expired)
    agent.answer = (200, APPLIED)
    with pytest.raises(TransientError):
        call(context, agent.port, lambda client: client.push(WHOLE))
    tls.use_identity(context, authority.issue_panel_client(time.time()))
    assert call(context, agent.port, lambda client: client.push(WHOLE)).verified


def test_messages_of_a_later_agent_are_skipped(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    """A kind that is unknown, and fields that are; what is no message of this protocol still ends the stream."""
    agent.stream = [
        SNAPSHOT,
        b'{"type":"of_later","now":1,"deep":{"type":"heartbeat"}}\n' * 3,
        b'{"type":"heartbeat","now":2.0,"mood":"fine"}\n',
        b'{"type":3}\n',
    ]
    messages: list[WatchMessage] = []
    with pytest.raises(TransientError, match="not of this protocol"):
        call(panel_context, agent.port, lambda client: collect(client, messages))
    assert [type(message) for message in messages] == [Snapshot, Heartbeat]


def test_the_panel_says_what_it_knows(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.answer = (200, APPLIED)
    call(panel_context, agent.port, lambda client: client.push(DELTA))
    assert features.from_header(agent.headers[0].get(features.FEATURES_HEADER)) == features.ALL
    assert agent.headers[0][features.VERSION_HEADER] == wgfleet.__version__
