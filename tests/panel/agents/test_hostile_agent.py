"""An agent in the wrong hands, with its own key: what it sends instead of answers and messages costs little."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.panel.agents.conftest import HEARTBEAT, NODE, SNAPSHOT, ScriptedAgent
from wgfleet.panel import clock
from wgfleet.panel.agents import attention, tls, watch_messages
from wgfleet.panel.agents.allowance import Allowance
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.agents.attention import Attention
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.agents.watch_stream import WatchStream
from wgfleet.panel.errors import TransientError
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeRequest, ProbeTarget, Takeover, TakeoverPeer, WatchMessage


def nothing(_: WatchMessage) -> None:
    pass


def listen(
    agent: ScriptedAgent,
    context: ssl.SSLContext,
    peers: int = 0,
    hear: Callable[[WatchMessage], None] = nothing,
) -> tuple[int, TransientError]:
    """Read an agent's stream to its end; return how many messages were read, and why no more."""

    async def run() -> tuple[int, TransientError]:
        client = AgentClient("127.0.0.1", agent.port, NODE, context)
        client.peers = peers
        read = 0

        def count(message: WatchMessage) -> None:
            nonlocal read
            read += 1
            hear(message)

        try:
            await client.watch(count)
        except TransientError as error:
            return read, error
        finally:
            await client.aclose()

    return asyncio.run(run())


def listen_again(agent: ScriptedAgent, context: ssl.SSLContext, *, times: int) -> list[int]:
    """Read an agent's stream to its end several times with one client; return how many messages were read each time."""

    async def run() -> list[int]:
        client = AgentClient("127.0.0.1", agent.port, NODE, context)
        found = []
        for _ in range(times):
            read: list[WatchMessage] = []
            with contextlib.suppress(TransientError):
                await client.watch(read.append)
            found.append(len(read))
        await client.aclose()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize(
    "flood",
    [HEARTBEAT * 100, b'{"type":"of a later release"}\n' * 100, b"\n" * 1000, HEARTBEAT[:-2] + b',"x":"%s"}\n'],
    ids=["heartbeats", "unknown", "empty", "long"],
)
def test_a_stream_that_floods_is_left_for_a_while(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, flood: bytes
) -> None:
    long = b"x" * 900_000
    agent.stream = [SNAPSHOT, *[flood % long if b"%s" in flood else flood] * 500, 600.0]
    read, error = listen(agent, panel_context)
    assert "more than the panel reads of one node" in str(error)
    assert error.retry_after_s is not None
    assert error.retry_after_s >= 5
    assert read < 20_000


def test_what_an_agent_may_send_is_not_counted_from_zero_when_it_is_called_again(
    agent: ScriptedAgent, panel_context: ssl.SSLContext
) -> None:
    agent.stream = [SNAPSHOT, *[HEARTBEAT * 100] * 500, 600.0]

    first, *later = listen_again(agent, panel_context, times=3)
    assert first > 500, "a burst is nothing bad"
    assert sum(later) < first / 2


def reporting(kind: str, count: int) -> bytes:
    """Return a message of a node with this many peers in use, as its agent says it."""
    peers = {
        f"{number:043}=": {"endpoint": "192.0.2.1:51820", "latest_handshake": 1_764_000_000, "rx": 9**9, "tx": 9**9}
        for number in range(count)
    }
    interface = {"name": "wg0", "config_id": "c", "generation": 1, "up": True, "summary": "", "peers": peers}
    told = {**json.loads(SNAPSHOT), "interfaces": [interface]}
    message = told if kind == "snapshot" else {"type": "change", "now": 1.0, "interfaces": [interface]}
    return json.dumps(message).encode() + b"\n"


@pytest.mark.parametrize("count", [1_000, 10_000])
def test_a_node_with_many_peers_may_say_much(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A minute of its life: each peer sends all the time."""
    now = [0.0]
    agent.stream = [reporting("snapshot", count), *[reporting("change", count), HEARTBEAT, HEARTBEAT] * 60]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    def pass_time(_: WatchMessage) -> None:
        now[0] += 60 / 181

    read, error = listen(agent, panel_context, peers=count, hear=pass_time)
    assert "ended the watch stream" in str(error)
    assert read == 181


def test_a_node_whose_peers_are_not_in_the_rows_any_more_is_heard_again_and_again(
    agent: ScriptedAgent, panel_context: ssl.SSLContext
) -> None:
    """Its config was deleted while it was away, or a copy of the database was restored: it has to be told."""
    agent.stream = [reporting("snapshot", 20_000), HEARTBEAT]

    assert listen_again(agent, panel_context, times=5) == [2] * 5


def test_who_is_refused_an_allowance_does_not_wait_longer_for_asking() -> None:
    allowance = Allowance(2, 1 / 60)
    assert [allowance.take(1, float(now)) for now in range(120)].count(True) == 3
    assert allowance.wait_s(1) <= 60


@contextlib.contextmanager
def instead_of_an_answer(authority: Authority, say: Callable[[ssl.SSLSocket], object]) -> Iterator[int]:
    """Listen as the agent of the node, and say something where an answer is due; yield the port."""
    context = tls.server_context(authority.issue_server([f"{NODE}.node.wgfleet.internal"], [], time.time()))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate_pem)

    def answer(listener: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as line:
            line.recv(65536)
            say(line)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


async def ask(context: ssl.SSLContext, port: int, call: str) -> None:
    """Call an agent once, or begin to read its stream; nobody may need more than 10 s to be found out."""
    client = AgentClient("127.0.0.1", port, NODE, context)
    try:
        async with asyncio.timeout(10):
            if call == "status":
                await client.status()
            await client.watch(nothing)
    finally:
        await client.aclose()


@pytest.mark.parametrize("call", ["watch", "status"])
def test_what_comes_before_an_answer_has_an_end(authority: Authority, panel_context: ssl.SSLContext, call: str) -> None:
    def go_on(line: ssl.SSLSocket) -> None:
        while True:
            line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    with (
        instead_of_an_answer(authority, go_on) as port,
        pytest.raises(TransientError, match="before its answer begins"),
    ):
        asyncio.run(ask(panel_context, port, call))


def test_records_that_hold_next_to_nothing_are_counted_as_they_came(
    authority: Authority, panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes time of the loop: a megabyte of them has 45,000."""
    monkeypatch.setattr(attention, "MESSAGE_LIMIT", 400_000)
    monkeypatch.setattr(attention, "PIECE", 0)
    monkeypatch.setattr(attention, "BYTES_A_SECOND", 1)

    def dribble(line: ssl.SSLSocket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffff\r\n" + SNAPSHOT)
        for _ in range(100_000):
            line.sendall(b" ")

    with (
        instead_of_an_answer(authority, dribble) as port,
        pytest.raises(TransientError, match="more than the panel reads of one node"),
    ):
        asyncio.run(ask(panel_context, port, "watch"))


@pytest.mark.parametrize(
    "words", [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"HTTP/1.1 404 No\r\ncontent-length: 9\r\n\r\n"]
)
def test_who_speaks_before_it_is_asked_is_not_of_this_protocol(words: bytes) -> None:
    async def run() -> None:
        stream = WatchStream(Attention("an agent"), lambda _: None, 2.0)
        stream.connection_made(asyncio.Transport())
        with contextlib.suppress(NotImplementedError):  # it is hung up on
            stream.data_received(words)
        stream.begin([("host", "x")])
        with pytest.raises(TransientError, match="before it is asked"):
            await stream.ended

    asyncio.run(run())


@pytest.mark.parametrize("call", ["watch", "status"])
def test_what_is_not_tls_any_more_is_trouble_of_the_agent(
    authority: Authority, panel_context: ssl.SSLContext, call: str
) -> None:
    with (
        instead_of_an_answer(
            authority, lambda line: os.write(line.fileno(), b"\x17\x03\x03\x00\x20" + b"x" * 32)
        ) as port,
        pytest.raises(TransientError, match="agent of node node1"),
    ):
        asyncio.run(ask(panel_context, port, call))


@pytest.mark.parametrize("line", [b"x" * 90_000 + b"\x1b[31m\r\n", b"HTTP/1.1 \x1b[31m\r\n\r\n"])
def test_what_is_not_http_is_told_in_a_few_clean_words(
    authority: Authority, panel_context: ssl.SSLContext, line: bytes
) -> None:
    with (
        instead_of_an_answer(authority, lambda to: to.sendall(line)) as port,
        pytest.raises(TransientError) as caught,
    ):
        asyncio.run(ask(panel_context, port, "watch"))
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


def test_one_connection_carries_many_answers(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.answer = (409, b'{"title":"x","status":409,"reason":"x","detail":"' + b"d" * 60_000 + b'"}')

    async def run() -> None:
        client = AgentClient("127.0.0.1", agent.port, NODE, panel_context)
        for _ in range(8):
            with pytest.raises(AgentRefused):
                await client.status()
        await client.aclose()

    asyncio.run(run())
    assert len(agent.connections) == 1


def test_words_of_an_agent_are_clean_wherever_they_come_from(
    agent: ScriptedAgent, panel_context: ssl.SSLContext
) -> None:
    agent.stream = [b'{"type":"snapshot","status":"\\u001b]0;x\\u0007","interfaces":[]}\n']
    _, error = listen(agent, panel_context)
    assert str(error).isprintable()


@pytest.mark.parametrize(
    "line", [b"[" * 10_000, b'{"type":"heartbeat","now":1.0,"x":' + b"[" * 10_000, b"\xff", b'{"type":"\xff"}']
)
def test_what_cannot_be_decoded_is_no_error_of_the_panel(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, line: bytes
) -> None:
    agent.stream = [SNAPSHOT, line + b"\n"]
    agent.answer = (409, line)

    async def refused() -> None:
        client = AgentClient("127.0.0.1", agent.port, NODE, panel_context)
        with pytest.raises(AgentRefused):
            await client.status()
        await client.aclose()

    read, error = listen(agent, panel_context)
    assert read == 1
    assert "not of this protocol" in str(error)
    asyncio.run(refused())


def test_reports_that_cannot_be_are_not_looked_at_by_the_million(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[object] = []
    monkeypatch.setattr(watch_messages, "_is_possible", looked_at.append)
    agent.stream = [SNAPSHOT, b'{"type":"change","now":1.0,"interfaces":[' + b"1," * 2**20 + b"1]}\n"]
    read, error = listen(agent, panel_context)
    assert read == 1
    assert "not of this protocol" in str(error)
    assert not looked_at


def test_reports_that_cannot_be_are_logged_in_folds(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(watch_messages.log, "warning", lambda event, **_: warned.append(event))
    bad = [f'{{"type":"change","now":1.0,"interfaces":[{{"name":{number}}}]}}\n'.encode() for number in range(400)]
    agent.stream = [SNAPSHOT, *bad]
    read, _ = listen(agent, panel_context)
    assert read == 401
    assert 1 <= len(warned) <= 10


@pytest.mark.parametrize("field", ["unanswered", "unsent", "answered", "lost"])
def test_nobody_says_more_of_probes_and_takeovers_than_it_was_asked(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, field: str
) -> None:
    """Decisions are made from it: a million of endpoints would keep them waiting."""
    many = [f"192.0.2.1:{number}" for number in range(50)]
    said = {"answered": {}, "unanswered": [], field: many if field.startswith("un") else dict.fromkeys(many, 1)}
    agent.answer = (200, json.dumps(said).encode())
    key = PublicKey("p" * 44)
    probe = ProbeRequest(InterfaceName("wg0"), (ProbeTarget("192.0.2.1:1", key, PrivateKey("k" * 44)),))

    async def ask_both() -> None:
        client = AgentClient("127.0.0.1", agent.port, NODE, panel_context)
        with pytest.raises(TransientError, match="more than it was asked"):
            await client.probe(probe)
        if field in {"answered", "unanswered"}:
            with pytest.raises(TransientError, match="more than it was asked"):
                await client.takeover("wg0", Takeover((TakeoverPeer(key, "192.0.2.1:1"),)))
        await client.aclose()

    asyncio.run(ask_both())


def test_an_answer_is_not_longer_than_its_peers_need(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.answer = (409, b'{"title":"x","status":409,"reason":"x","detail":"' + b"d" * 9_000_000 + b'"}')

    async def call(client: AgentClient) -> None:
        try:
            await client.status()
        finally:
            await client.aclose()

    with pytest.raises(TransientError, match="bytes"):
        asyncio.run(call(AgentClient("127.0.0.1", agent.port, NODE, panel_context)))
