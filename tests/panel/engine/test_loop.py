"""Host names that hang keep no other waiting, and not the end of the process either."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.agents.tls import client_context
from wgfleet.panel.domain.fields import is_address
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.engine.loop import CoreLoop

DEAD = 40  # names: more than asyncio has threads
GOOD = "agent.example.com"


class Resolver:
    """Says nothing of names that begin with `dead` until it is let go. `asked`: how often for each.

    `failing`: the error that it ends with for all names, at once or, where it `hangs`, never.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.go_on = threading.Event()
        self.failing: int | None = None
        self.hangs = False
        self.address = "127.0.0.1"
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: str | bytes, port: int, *more: Any, **named: Any) -> list[tuple[Any, ...]]:
        name = host.decode() if isinstance(host, bytes) else host
        if is_address(name):
            return self._real(host, port, *more, **named)
        self.asked[name] += 1
        if name.startswith("dead"):
            self.go_on.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")
        if self.hangs:
            self.go_on.wait(30)
        if self.failing is not None:
            raise socket.gaierror(self.failing, "not found")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (self.address, port))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    found = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    return found


@asynccontextmanager
async def knocked_at() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Listen on loopback; give the port, and what is set when somebody connects."""
    came = asyncio.Event()

    def come(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        writer.close()

    server = await asyncio.start_server(come, sock=socket.create_server(("127.0.0.1", 0)))
    async with server:
        yield server.sockets[0].getsockname()[1], came


async def ask(host: str, port: int) -> None:
    authority = Authority.create("test", time.time())
    client = AgentClient(
        host, port, "n", client_context(authority.certificate_pem, authority.issue_panel_client(time.time()))
    )
    try:
        with pytest.raises(TransientError):
            await client.status()
    finally:
        await client.aclose()


async def asked_beside_dead_names() -> None:
    async with knocked_at() as (port, came):
        dead = [asyncio.create_task(ask(f"dead{number}.example.com", 9)) for number in range(DEAD)]
        await asyncio.sleep(0.3)
        good = asyncio.create_task(ask(GOOD, port))
        async with asyncio.timeout(2.5):
            await came.wait()
        await asyncio.gather(good, *dead)


def test_an_agent_is_reached_beside_others_whose_names_hang_and_the_end_does_not_wait_for_them(
    resolver: Resolver,
) -> None:
    begun = time.monotonic()
    with asyncio.Runner(loop_factory=CoreLoop) as runner:
        runner.run(asked_beside_dead_names())
    assert time.monotonic() - begun < 15
    assert resolver.asked[GOOD]
    resolver.go_on.set()


def test_a_name_is_looked_up_once_for_all_who_ask_meanwhile_and_again_later(resolver: Resolver) -> None:
    async def asked() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await loop.getaddrinfo("dead.example.com", 9)
        assert resolver.asked["dead.example.com"] == 1
        resolver.go_on.set()
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("dead.example.com", 9)
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("dead.example.com", 9)
        assert resolver.asked["dead.example.com"] == 2

    with asyncio.Runner(loop_factory=CoreLoop) as runner:
        runner.run(asked())


def addresses_of(found: list[tuple[Any, ...]]) -> list[str]:
    return [entry[4][0] for entry in found]


def test_a_name_that_was_found_is_reached_while_the_resolver_says_nothing_and_a_new_address_counts(
    resolver: Resolver,
) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert addresses_of(await loop.getaddrinfo(GOOD, 1)) == ["127.0.0.1"]
        resolver.hangs, resolver.address = True, "127.0.0.2"
        for _ in range(3):
            begun = time.monotonic()
            assert addresses_of(await loop.getaddrinfo(GOOD, 1)) == ["127.0.0.1"]
            assert time.monotonic() - begun < 2.0
        assert resolver.asked[GOOD] == 2, "one question at a time"
        resolver.go_on.set()
        async with asyncio.timeout(20):
            while addresses_of(await loop.getaddrinfo(GOOD, 1)) != ["127.0.0.2"]:  # noqa: ASYNC110 - the loop tells nobody
                await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=CoreLoop) as runner:
        runner.run(run())


def test_what_was_found_is_taken_while_no_name_server_answers_and_not_once_there_is_no_such_name(
    resolver: Resolver,
) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(GOOD, 1)
        resolver.failing = socket.EAI_AGAIN
        assert await loop.getaddrinfo(GOOD, 1) == found
        resolver.failing = socket.EAI_NONAME
        for _ in range(2):
            with pytest.raises(socket.gaierror):
                await loop.getaddrinfo(GOOD, 1)

    with asyncio.Runner(loop_factory=CoreLoop) as runner:
        runner.run(run())


def test_what_was_found_before_the_start_is_taken_while_the_resolver_says_nothing_until_it_says_otherwise(
    resolver: Resolver,
) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CoreLoop)
        loop.remember({GOOD: ["192.0.2.7", "2001:db8::7"], "dead.example.com": []})
        resolver.failing = socket.EAI_AGAIN
        found = await loop.getaddrinfo(GOOD, 51900, type=socket.SOCK_STREAM)
        assert addresses_of(found) == ["192.0.2.7", "2001:db8::7"]
        assert {entry[4][1] for entry in found} == {51900}
        assert await loop.getaddrinfo(GOOD.encode(), 51900, type=socket.SOCK_STREAM) == found
        found = await loop.getaddrinfo(GOOD, 51900, family=socket.AF_INET6, type=socket.SOCK_STREAM)
        assert addresses_of(found) == ["2001:db8::7"]
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("other.example.com", 1)
        resolver.failing = None
        assert addresses_of(await loop.getaddrinfo(GOOD, 51900)) == ["127.0.0.1"]
        resolver.failing = socket.EAI_AGAIN
        assert addresses_of(await loop.getaddrinfo(GOOD, 51900)) == ["127.0.0.1"]

    with asyncio.Runner(loop_factory=CoreLoop) as runner:
        runner.run(run())


def test_what_was_found_before_the_start_is_forgotten_once_there_is_no_such_name(resolver: Resolver) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CoreLoop)
        loop.remember({GOOD: ["192.0.2.7"]})
        resolver.failing = socket.EAI_NONAME
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo(GOOD, 1)
        resolver.failing = socket.EAI_AGAIN
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo(GOOD, 1)

    with asyncio.Runner(loop_factory=CoreLoop) as runner:
        runner.run(run())
