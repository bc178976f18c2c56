"""The reading of a watch stream on connections that begin, break and end in every way."""

import asyncio
import contextlib
import gc
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tests.panel.agents.conftest import HEARTBEAT, NODE, SNAPSHOT, ScriptedAgent
from tests.panel.agents.test_connecting import deaf_listener, hear
from wgfleet.panel.agents import client as client_module
from wgfleet.panel.agents import connecting, tls, watch_stream
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.agents.client import COUNTERS_S, AgentClient
from wgfleet.panel.errors import TransientError
from wgfleet.protocol import features
from wgfleet.protocol.messages import Heartbeat, Refusal, Snapshot, WatchMessage
from wgfleet.protocol.panel_name import PanelName

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PANEL = PanelName("panel", 3, "incarnation")
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CONNECT_S", 60.0)
    monkeypatch.setattr(client_module, "SILENCE_S", 60.0)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def watch(authority: Authority, context: ssl.SSLContext, talk: Talk) -> tuple[list[WatchMessage], Exception]:
    """Watch an agent that talks so once it was asked; return what was heard, and how it ended."""
    own = tls.server_context(authority.issue_server([f"{NODE}.node.wgfleet.internal"], [], time.time()))

    async def run() -> tuple[list[WatchMessage], Exception]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await talk(reader, writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=own)
        client = AgentClient("127.0.0.1", server.sockets[0].getsockname()[1], NODE, context)
        found: list[WatchMessage] = []
        try:
            async with asyncio.timeout(60):
                await client.watch(found.append)
        except (TransientError, AgentRefused) as error:
            return found, error
        finally:
            await client.aclose()
            server.close()
            await server.wait_closed()

    return asyncio.run(run())


def says(*parts: bytes, then: Callable[[asyncio.StreamWriter], object] = lambda _: None) -> Talk:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        then(writer)

    return talk


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_the_stream_is_the_same_however_it_is_cut(
    authority: Authority, panel_context: ssl.SSLContext, cut: int
) -> None:
    said = b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + chunk(SNAPSHOT + HEARTBEAT[:9]) + chunk(HEARTBEAT[9:])

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(said), cut):
            writer.write(said[at : at + cut])
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")

    heard, error = watch(authority, panel_context, talk)
    assert [type(each) for each in heard] == [Snapshot, Heartbeat]
    assert "ended the watch stream" in str(error)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ((HEAD, chunk(HEARTBEAT)), "ended the watch stream"),
        ((HEAD[:20],), "hung up"),
        ((), "hung up"),
        ((HEAD + b"5\r\n",), "ended the watch stream"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",), "comes in chunks"),
        ((b"HTTP/1.1 200 OK\r\n\r\n",), "comes in chunks"),
        ((HEAD + b"zz\r\n",), "not of this protocol"),
        ((HEAD + chunk(b"{}\n"),), "not of this protocol"),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,), "before its answer begins"),
        ((b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",), "not of this protocol"),
        ((b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n",), "not of this protocol"),
        ((b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\noops",), "oops"),
        ((b"HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\noops",), "not of this protocol"),
        ((b"HTTP/1.1 302 No\r\ncontent-length: 0\r\n\r\n",), "302"),
        ((b"HTTP/1.1 409 No\r\ncontent-length: 99999\r\n\r\n" + b"x" * 50_000,), "to refuse a call"),
    ],
)
def test_what_is_no_stream_is_worth_another_try(
    authority: Authority, panel_context: ssl.SSLContext, said: tuple[bytes, ...], words: str
) -> None:
    _, error = watch(authority, panel_context, says(*said))
    assert isinstance(error, TransientError)
    assert words in str(error)
    assert f"agent of node {NODE}" in str(error)


@pytest.mark.parametrize("framing", ["length", "chunked", "end"])
def test_a_refusal_comes_with_its_reason_however_it_is_framed(
    authority: Authority, panel_context: ssl.SSLContext, framing: str
) -> None:
    body = msgspec.json.encode(Refusal("conflict", 409, "obeys a newer one", "older_panel", proof="p"))
    said = {
        "length": b"content-length: %d\r\n\r\n%b" % (len(body), body),
        "chunked": b"transfer-encoding: chunked\r\n\r\n" + chunk(body[:5]) + chunk(body[5:]) + b"0\r\n\r\n",
        "end": b"connection: close\r\n\r\n" + body,
    }[framing]
    heard, error = watch(authority, panel_context, says(b"HTTP/1.1 409 Conflict\r\n" + said))
    assert isinstance(error, AgentRefused)
    assert (error.refusal.reason, error.refusal.proof, heard) == ("older_panel", "p", [])


def test_a_connection_that_breaks_is_worth_another_try(authority: Authority, panel_context: ssl.SSLContext) -> None:
    def break_off(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    heard, error = watch(authority, panel_context, says(HEAD, chunk(SNAPSHOT), then=break_off))
    assert len(heard) == 1
    assert isinstance(error, TransientError)


def test_the_panel_names_itself_and_what_it_heard_last(agent: ScriptedAgent, panel_context: ssl.SSLContext) -> None:
    agent.stream = [SNAPSHOT, HEARTBEAT[:-2] + b',"mark":7.5}\n']

    async def twice() -> None:
        client = AgentClient("127.0.0.1", agent.port, NODE, panel_context, PANEL)
        for _ in range(2):
            with contextlib.suppress(TransientError):
                await client.watch(lambda _: None)
        await client.aclose()

    asyncio.run(twice())
    first, second = agent.headers
    assert features.HEARD_HEADER not in first
    assert second[features.HEARD_HEADER] == "7.5"
    for each in agent.headers:
        assert each[features.PANEL_HEADER] == str(PANEL)
        assert features.from_header(each.get(features.FEATURES_HEADER)) == features.ALL
        assert features.held_back_s(each.get(features.COUNTERS_HEADER)) == COUNTERS_S
        assert each["host"] == f"127.0.0.1:{agent.port}"


def test_an_error_of_who_listens_ends_the_stream_and_is_raised(
    agent: ScriptedAgent, panel_context: ssl.SSLContext
) -> None:
    agent.stream = [SNAPSHOT, HEARTBEAT, 600.0]

    def fail(message: WatchMessage) -> None:
        raise LookupError(type(message).__name__)

    async def run() -> None:
        client = AgentClient("127.0.0.1", agent.port, NODE, panel_context)
        with pytest.raises(LookupError, match="Snapshot"):
            await client.watch(fail)
        await client.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("stage", ["handshake", "answer", "stream"])
def test_who_does_not_listen_any_more_leaves_no_connection_behind(
    authority: Authority, panel_context: ssl.SSLContext, stage: str
) -> None:
    own = tls.server_context(authority.issue_server([f"{NODE}.node.wgfleet.internal"], [], time.time()))

    async def run() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if stage == "handshake":
                await reader.read(1)
            else:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"" if stage == "answer" else HEAD + chunk(SNAPSHOT))
            begun.set()
            with contextlib.suppress(OSError):
                await reader.read()
            ended.set()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if stage == "handshake" else own)
        client = AgentClient("127.0.0.1", server.sockets[0].getsockname()[1], NODE, panel_context)
        watching = asyncio.create_task(client.watch(lambda _: None))
        async with asyncio.timeout(60):
            await begun.wait()
            watching.cancel()
            await asyncio.wait([watching])
            await ended.wait()
        assert watching.cancelled()
        await client.aclose()
        server.close()
        await server.wait_closed()

    asyncio.run(run())


def test_a_call_or_stream_that_is_given_up_at_any_moment_leaves_no_socket(panel_context: ssl.SSLContext) -> None:
    """None either that the garbage collector would have to find."""

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def run(client: AgentClient, steps: int) -> None:
        for begin in (lambda: client.watch(lambda _: None), client.status):
            task = asyncio.create_task(begin())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await client.aclose()

    async def all_of_them(port: int) -> None:
        for steps in range(60):
            await run(AgentClient("127.0.0.1", port, NODE, panel_context), steps)

    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        gc.disable()
        try:
            before = open_files()
            asyncio.run(all_of_them(listener.getsockname()[1]))
            assert open_files() == before
        finally:
            gc.enable()


def test_a_stream_is_opened_with_as_much_haste_as_a_call(
    panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener whose queue is full drops the first packet, as a bad network does."""
    monkeypatch.setattr(client_module, "CONNECT_S", 5.0)

    async def run() -> int:
        with deaf_listener() as (listener, port):
            client = AgentClient("127.0.0.1", port, NODE, panel_context)
            watching = asyncio.create_task(client.watch(lambda _: None))
            await asyncio.sleep(0.05)
            accepted = hear(listener)
            await asyncio.sleep(connecting.FIRST_S + connecting.LATER_S)
            accepted += (came := hear(listener))
            watching.cancel()
            await asyncio.wait([watching])
            await client.aclose()
            for each in accepted:
                each.close()
            return len(came)

    assert asyncio.run(run()) >= 1


def test_a_deaf_agent_is_given_up_in_time(panel_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CONNECT_S", 0.4)

    async def run() -> None:
        with deaf_listener() as (_, port):
            client = AgentClient("127.0.0.1", port, NODE, panel_context)
            with pytest.raises(TransientError, match="cannot be reached in time"):
                await client.watch(lambda _: None)
            await client.aclose()

    asyncio.run(run())


def test_a_refusal_that_is_long_costs_no_more_than_a_head(authority: Authority, panel_context: ssl.SSLContext) -> None:
    """Each byte in a chunk of its own: what such a body costs to take apart has an end."""
    body = b"1\r\nx\r\n" * 100_000
    _, error = watch(authority, panel_context, says(b"HTTP/1.1 409 No\r\ntransfer-encoding: chunked\r\n\r\n" + body))
    assert isinstance(error, TransientError)
    assert str(watch_stream.HEAD_LIMIT) in str(error)
