"""The agent's listener among strangers: the panel gets in, and what is said of the others is short."""

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import tls_connections
from tests.waiting import eventually
from wgfleet.agent.enrollment.certificates import make_request
from wgfleet.agent.server.listener import AgentDoor, make_context
from wgfleet.agent.server.serving import listen_on
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.panel_sources import PanelSources
from wgfleet.doors.sockets import lengthen_queue
from wgfleet.panel.agents.authority import Authority, agent_server_name
from wgfleet.panel.agents.tls import client_context

NODE = "0" * 32


class Hello(asyncio.Protocol):
    """Greets whom the door has admitted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"HELLO")


@dataclass
class Street:
    """A listener, the panel's TLS, and what was reported."""

    door: AgentDoor
    port: int
    panel: ssl.SSLContext
    refused: list[tuple[str, str, int]] = field(default_factory=list)

    async def call(self) -> bytes:
        """Connect as the panel does; give what it is greeted with."""
        return await self.connect(self.panel)

    async def connect(self, context: ssl.SSLContext) -> bytes:
        name = agent_server_name(NODE)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, ssl=context, server_hostname=name
                )
                try:
                    return await reader.read(5)
                finally:
                    writer.close()
        return b""

    def stranger(self, source: str) -> socket.socket:
        connection = socket.socket()
        connection.bind((source, 0))
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", self.port))
        return connection


@contextlib.asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Street]:
    authority = Authority.create("p", time.time())
    key, request = make_request("x")
    (directory / "key").write_bytes(key)
    (directory / "crt").write_text(authority.issue_agent(request, NODE, time.time()))
    (directory / "ca").write_text(authority.certificate_pem)
    context = make_context(directory / "crt", directory / "key", directory / "ca")
    refused: list[tuple[str, str, int]] = []
    sources = PanelSources(directory / "panel-sources.json", DamagedFiles())
    sources.load()
    door = AgentDoor(lambda: context, Hello, lambda *report: refused.append(report), lambda _: None, sources)
    server = await asyncio.get_running_loop().create_server(door.connection, "127.0.0.1", 0)
    lengthen_queue(server)
    panel = client_context(authority.certificate_pem, authority.issue_panel_client(time.time()))
    async with server:
        yield Street(door, server.sockets[0].getsockname()[1], panel, refused)


def on_the_street(test: Callable[[Street], Awaitable[Any]], directory: Path) -> None:
    async def run() -> None:
        async with opened(directory) as street:
            await test(street)

    asyncio.run(run())


@pytest.mark.parametrize("sources", [1, 250], ids=["one address, the panel's own", "many addresses"])
@pytest.mark.parametrize("known", [False, True], ids=["panel not seen before", "panel known"])
def test_the_panel_gets_in_whoever_sits_at_the_door(tmp_path: Path, sources: int, known: bool) -> None:
    async def test(street: Street) -> None:
        if known:
            assert await street.call() == b"HELLO"
        sitting: list[socket.socket] = []

        async def sit() -> None:
            while True:
                for each in sitting:
                    each.close()
                sitting.clear()
                for number in range(300):
                    sitting.append(street.stranger(f"127.0.0.{number % sources + 1}"))
                    await asyncio.sleep(0)
                await asyncio.sleep(0.5)

        work = asyncio.create_task(sit())
        await asyncio.sleep(0.3)
        greetings = []
        for _ in range(12):
            greetings.append(await street.call())
            await asyncio.sleep(0.1)
        work.cancel()
        for each in sitting:
            each.close()
        assert greetings == [b"HELLO"] * 12

    on_the_street(test, tmp_path)


def test_four_of_one_address_may_wait_and_the_oldest_goes_for_the_next(tmp_path: Path) -> None:
    async def test(street: Street) -> None:
        waiting = []
        for _ in range(8):
            waiting.append(street.stranger("127.0.0.9"))
            await asyncio.sleep(0.05)
        assert len(street.door.strangers) == 4
        for each in waiting:
            each.close()
        await asyncio.sleep(0.1)
        assert len(street.door.strangers) == 0

    on_the_street(test, tmp_path)


def test_refused_clients_are_one_report_a_minute_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(street: Street) -> None:
        nobody = ssl.create_default_context()
        nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
        monkeypatch.setattr(street.door.folding, "window_s", 2.0)
        for _ in range(20):
            await asyncio.gather(*(street.connect(nobody) for _ in range(4)))
        await asyncio.sleep(2.5)
        told = [count for _, _, count in street.refused]
        assert len(told) <= 6
        assert 50 < sum(told) <= 80
        assert {remote for remote, _, _ in street.refused} == {"127.0.0.1"}

    on_the_street(test, tmp_path)


def test_only_tls_1_3_is_spoken(tmp_path: Path) -> None:
    async def test(street: Street) -> None:
        assert await street.call() == b"HELLO"
        street.panel.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await street.call() == b""

    on_the_street(test, tmp_path)


@pytest.mark.parametrize("known", [False, True], ids=["panel not seen before", "panel known to the agent before"])
def test_a_restarted_agent_keeps_room_for_the_panel(tmp_path: Path, known: bool) -> None:
    async def before(street: Street) -> None:
        assert await street.call() == b"HELLO"

    async def test(street: Street) -> None:
        # The panel's packets are slow: it is there, and has not said anything yet.
        panel = street.stranger("127.0.0.1")
        await asyncio.sleep(0.1)
        sitting = []
        for number in range(200):
            sitting.append(street.stranger(f"127.0.0.{number + 2}"))
            await asyncio.sleep(0)
            with contextlib.suppress(OSError):
                sitting[-1].send(b"\x16")
        await asyncio.sleep(0.3)
        assert len(street.door.strangers) == 64
        ended = True
        with contextlib.suppress(ConnectionError):
            try:
                panel.recv(1)
            except BlockingIOError:
                ended = False
        for each in (panel, *sitting):
            each.close()
        assert ended is not known

    if known:
        on_the_street(before, tmp_path)
    on_the_street(test, tmp_path)


def sources(folder: Path) -> PanelSources:
    found = PanelSources(folder / "panel-sources.json", DamagedFiles())
    found.load()
    return found


def test_the_latest_sources_of_the_panel_are_remembered(tmp_path: Path) -> None:
    first = sources(tmp_path)
    for source in ("a", "b", "c", "d", "a", "e"):
        first.note(source)
    again = sources(tmp_path)
    assert [source for source in "abcde" if source in again] == ["a", "c", "d", "e"]


def test_a_panel_that_stays_where_it_is_costs_one_write(tmp_path: Path) -> None:
    first = sources(tmp_path)
    first.note("a")
    (tmp_path / "panel-sources.json").unlink()
    first.note("a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_a_damaged_memory_of_sources_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "panel-sources.json").write_bytes(content)
    assert "a" not in sources(tmp_path)
    sources(tmp_path).note("a")
    assert "a" in sources(tmp_path)


def test_a_full_disk_does_not_keep_the_panel_a_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("wgfleet.agent.state.panel_sources.write_atomic", full)
    found = sources(tmp_path)
    found.note("a")
    assert "a" in found


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"port {port} of 127.0.0.1 \(Address already in use\): end what listens"):
            asyncio.run(listen_on("127.0.0.1", port, Hello))


def test_a_handshake_that_began_while_another_ca_was_trusted_lets_nobody_in(tmp_path: Path) -> None:
    """Who has the key of a CA that has gone must not get in by being slow."""

    async def test(street: Street) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        line = street.panel.wrap_bio(incoming, outgoing, server_hostname=agent_server_name(NODE))
        reader, writer = await asyncio.open_connection("127.0.0.1", street.port)
        async with asyncio.timeout(5):
            while True:
                try:
                    line.do_handshake()
                    break  # what is left to do is to send the client's certificate
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                    incoming.write(await reader.read(16384))
            other = Authority.create("p", time.time())
            (tmp_path / "ca").write_text(other.certificate_pem)
            context = make_context(tmp_path / "crt", tmp_path / "key", tmp_path / "ca")
            street.door.context = lambda: context
            street.door.end_refused()
            writer.write(outgoing.read())
            with contextlib.suppress(ConnectionError):
                assert await reader.read(16384) == b""
        writer.close()
        assert [reason for _, reason, _ in street.refused] == ["its certificate is of a CA that is trusted no more"]

    on_the_street(test, tmp_path)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "http", "half"]
)
def test_what_a_stranger_cost_is_free_once_it_is_gone(tmp_path: Path, sent: bytes) -> None:
    """Not when the collector comes by: until then thousands of strangers who came and went were 500 MB."""

    async def test(street: Street) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            stranger = street.stranger("127.0.0.9")
            await asyncio.sleep(0.01)
            if sent:
                await loop.sock_sendall(stranger, sent)
            stranger.close()
        await asyncio.to_thread(eventually, lambda: len(street.door.strangers) == 0)
        await asyncio.sleep(0.1)  # until the loop has forgotten them too

    with tls_connections.uncollected() as before:
        on_the_street(test, tmp_path)
        assert tls_connections.kept() <= before


def test_strangers_that_go_before_their_turn_begin_no_tls(tmp_path: Path) -> None:
    """Of a burst most go in the moment in which they came; each of them waited for its handshake until its time-out."""

    async def test(street: Street) -> None:
        burst = [street.stranger("127.0.0.9") for _ in range(100)]  # before the door hears of the first
        for each in burst:
            each.send(b"\x16")
        await asyncio.to_thread(eventually, lambda: len(street.door.strangers) > 0)
        await asyncio.sleep(0.2)
        gc.collect()
        assert tls_connections.kept() <= len(street.door.strangers) + before
        for each in burst:
            each.close()

    gc.collect()
    before = tls_connections.kept()
    on_the_street(test, tmp_path)


def test_strangers_that_say_nothing_begin_no_tls_and_go_in_time(tmp_path: Path) -> None:
    async def test(street: Street) -> None:
        silent = [street.stranger(f"127.0.0.{n}") for n in range(9, 19)]
        await asyncio.to_thread(eventually, lambda: len(street.door.strangers) == len(silent))
        assert tls_connections.kept() == before
        await asyncio.to_thread(eventually, lambda: len(street.door.strangers) == 0)
        for each in silent:
            each.close()

    gc.collect()
    before = tls_connections.kept()
    on_the_street(test, tmp_path)
