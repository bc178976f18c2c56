"""Connections to agents on a network that loses packets: real ones, to listeners that are too busy for a first packet.

A listener whose queue is full drops packets that ask for a connection, as a bad network does.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from wgfleet.panel.agents import connecting
from wgfleet.panel.agents.answers import AgentAway
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.agents.connecting import AgentWay, ConnectionTries, end_line

TCP_S = 1.0  # TCP's own second try
LONG_S = 0.4  # the round trip of a long path


@contextlib.contextmanager
def deaf_listener() -> Iterator[tuple[socket.socket, int]]:
    """Give a listener that drops all that asks for a connection, and its port, until `hear`."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):  # a queue of 0 takes one
            yield listener, address[1]


def hear(listener: socket.socket) -> list[socket.socket]:
    """Accept all that waits, and give it back."""
    listener.setblocking(False)
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(listener.accept()[0])
    return found


async def connect(
    port: int,
    tries: ConnectionTries | None = None,
    *,
    within_s: float = 10.0,
    path: Callable[[], Awaitable[object]] | None = None,
) -> asyncio.Transport:
    """Connect as to an agent, but without TLS; `path` is awaited before each try."""

    async def once() -> asyncio.Transport:
        if path is not None:
            await path()
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
        return transport

    async with asyncio.timeout(within_s):
        return await (tries or ConnectionTries()).first(once)


def test_a_first_packet_that_is_lost_costs_less_than_tcps_own_patience() -> None:
    async def run() -> float:
        with deaf_listener() as (listener, port):
            begun = time.monotonic()
            opening = asyncio.create_task(connect(port))
            await asyncio.sleep(0.05)
            accepted = hear(listener)
            stream = await opening
            took_s = time.monotonic() - begun
            await end_line(stream)
            for each in accepted:
                each.close()
            return took_s

    assert connecting.FIRST_S <= asyncio.run(run()) < TCP_S


def test_where_nothing_is_lost_there_is_one_connection_and_others_are_ended_where_there_were_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> list[bytes]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            stream = await connect(listener.getsockname()[1])
            (only,) = hear(listener)
            only.close()
            await end_line(stream)
            # All tries at once, and each of them gets through.
            monkeypatch.setattr(connecting, "FIRST_S", 0.0)
            monkeypatch.setattr(connecting, "LATER_S", 0.0)
            stream = await connect(listener.getsockname()[1])
            await asyncio.sleep(0.2)
            accepted = hear(listener)
            stream.write(b"hello")
            for each in accepted:
                each.settimeout(5.0)
            said = [each.recv(5) for each in accepted]
            await end_line(stream)
            for each in accepted:
                each.close()
            return said

    said = asyncio.run(run())
    assert said.count(b"hello") == 1
    assert set(said) <= {b"hello", b""}


def test_on_a_long_path_a_try_that_is_under_way_is_not_repeated() -> None:
    async def run() -> list[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            tries = ConnectionTries()
            begun: list[int] = []

            async def long_path() -> None:
                begun[-1] += 1
                await asyncio.sleep(LONG_S)

            for _ in range(3):
                begun.append(0)
                await end_line(await connect(listener.getsockname()[1], tries, path=long_path))
            await tries.end()
            return begun

    first, *later = asyncio.run(run())
    assert first > 1, "nobody knew the path yet"
    assert later == [1, 1]


def test_a_closed_port_is_said_at_once_and_a_deaf_one_in_time() -> None:
    async def refused(port: int) -> None:
        with pytest.raises(ConnectionRefusedError):
            await connect(port)

    async def deaf() -> float:
        with deaf_listener() as (_, port):
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                await connect(port, within_s=0.6)
            return time.monotonic() - begun

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    begun = time.monotonic()
    asyncio.run(refused(port))
    assert time.monotonic() - begun < TCP_S
    assert asyncio.run(deaf()) == pytest.approx(0.6, abs=0.3)


def test_who_does_not_wait_any_more_leaves_no_connection_behind() -> None:
    async def run() -> int:
        with deaf_listener() as (listener, port):
            opening = asyncio.create_task(connect(port))
            await asyncio.sleep(connecting.FIRST_S + 0.05)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await opening
            for each in hear(listener):
                each.close()
            await asyncio.sleep(2 * TCP_S)  # a try that was left alone would have got through by now
            for each in (left := hear(listener)):
                each.close()
            return len(left)

    assert asyncio.run(run()) == 0


def test_a_connection_that_is_given_up_in_its_handshake_is_closed(panel_context: ssl.SSLContext) -> None:
    async def scenario() -> None:
        ended: asyncio.Queue[bytes] = asyncio.Queue()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)  # it wants to begin TLS
            await ended.put(await reader.read())
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        client = AgentClient("127.0.0.1", server.sockets[0].getsockname()[1], "node", panel_context)
        asking = asyncio.create_task(client.status())
        await asyncio.sleep(0.2)
        asking.cancel()
        async with asyncio.timeout(5):
            await ended.get()
        await client.aclose()
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())


class Handshakes:
    """Handshakes that take as long as they are told to, and how many there were at a time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = self.most = 0
        self.begun: list[float] = []

    async def begin(self, line: asyncio.Transport, *_: object) -> None:
        self.begun.append(asyncio.get_running_loop().time())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
            await end_line(line)


async def open_lines(count: int) -> list[BaseException | None]:
    """Open lines to a listener, all at once; return how each ended."""

    async def one(number: int) -> None:
        way = AgentWay(f"n{number}", "127.0.0.1", port, "", context, ConnectionTries())
        await connecting.open_line(way, asyncio.Protocol(), lambda _: None, 3.0, "(a test)")

    context = ssl.create_default_context()  # takes 10 ms and more
    with socket.create_server(("127.0.0.1", 0), backlog=4 * count) as listener:
        port = listener.getsockname()[1]
        return list(await asyncio.gather(*(one(number) for number in range(count)), return_exceptions=True))


def test_of_many_agents_some_shake_hands_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    handshakes = Handshakes(0.05)
    monkeypatch.setattr(connecting, "begin_tls", handshakes.begin)
    monkeypatch.setattr(connecting, "HELD_S", 60)
    count = 3 * connecting.HANDSHAKES
    assert asyncio.run(open_lines(count)) == [None] * count
    assert handshakes.most == connecting.HANDSHAKES


def test_agents_that_do_not_shake_hands_keep_others_waiting_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    handshakes = Handshakes(60)
    monkeypatch.setattr(connecting, "begin_tls", handshakes.begin)
    ended = asyncio.run(open_lines(3 * connecting.HANDSHAKES))
    assert {type(each) for each in ended} == {AgentAway}
    waited = handshakes.begun[-1] - handshakes.begun[0]
    assert 2 * connecting.HELD_S - 0.1 <= waited < 3.0, "they are given up after 3 s"
