"""Speeds of peers in the kernel: how much passes, whose, and what is repaired."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.agent.node import Host
from wgfleet.agent.interfaces.speeds import Speeds, limits_of
from wgfleet.agent.kernel import speed_table
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey, raw_to_text

NAME = InterfaceName("lo")
ALICE, BERT, CARL = (PublicKey(raw_to_text(bytes([number]) * 32)) for number in (1, 2, 3))
SLOW = 80_000  # bits per second: 10 packets of SIZE
SIZE, MANY = 1000, 200
ROOM = SLOW // 8 + (1 << 16) + SLOW // 8 // 20  # bytes that a bucket of that speed holds


@pytest.fixture
def within() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Return what runs a function in a network namespace of its own."""
    host = Host("wgfleet-speed")
    with ThreadPoolExecutor(1, initializer=host.enter) as pool:
        yield lambda work: pool.submit(work).result()
    host.close()


def passed(source: str, target: str, count: int = MANY) -> int:
    """Send packets as fast as can be; return how many arrived."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sink, socket.socket(family, socket.SOCK_DGRAM) as sender:
        sink.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
        sink.bind((target, 0))
        sink.settimeout(0.3)
        sender.bind((source, 0))
        for _ in range(count):
            try:
                sender.sendto(b"x" * (SIZE - 28), sink.getsockname()[:2])
            except PermissionError:  # what is dropped on its way out is said to who sends it
                continue
        found = 0
        try:
            while True:
                sink.recv(SIZE)
                found += 1
        except TimeoutError:
            return found


def do(*work: Coroutine[None, None, None]) -> None:
    async def all_of_them() -> None:
        for each in work:
            await each

    asyncio.run(all_of_them())


def desired(peers: dict[PublicKey, DesiredPeer]) -> DesiredInterface:
    settings = InterfaceSettings(NAME, ConfigId("config"), PrivateKey(""), 51820)
    return DesiredInterface(Generation(1), settings, peers)


def table() -> speed_table.SpeedContents | None:
    return asyncio.run(speed_table.observe(NAME))


PEERS = {
    ALICE: DesiredPeer(("127.0.0.5/32", "::1/128", "127.9.0.0/16"), upload=SLOW),
    BERT: DesiredPeer(("127.0.0.6/32",), download=SLOW),
    CARL: DesiredPeer(("127.0.0.7/32",)),
}


def test_those_without_a_limit_are_in_no_table_and_networks_within_others_are_left_out() -> None:
    peers = {**PEERS, CARL: DesiredPeer(("127.9.3.0/24",), upload=SLOW)}
    assert limits_of(PEERS).keys() == {ALICE, BERT}
    assert limits_of(peers).keys() == {ALICE, BERT}
    assert len({each.word for each in limits_of(peers).values()}) == 2


@pytest.mark.lab
def test_each_direction_is_held_by_itself_and_nobody_else(within: Callable[[Callable[[], None]], None]) -> None:
    def work() -> None:
        speeds, started = Speeds(NAME), time.monotonic()
        do(speeds.look(desired(PEERS), repair=True))
        assert (speeds.drift, table()) == ((), speed_table.contents(limits_of(PEERS).values()))
        first = passed("127.0.0.5", "127.0.0.1")
        # What one address used, the others of the peer do not have; a second fills ten.
        rest = passed("127.9.3.4", "127.0.0.1") + passed("::1", "::1")
        assert ROOM // SIZE - 2 <= first + rest <= (ROOM + (time.monotonic() - started) * SLOW / 8) // SIZE + 2
        assert passed("127.0.0.1", "127.0.0.5") == MANY  # to it
        assert passed("127.0.0.7", "127.0.0.1") == MANY
        started = time.monotonic()
        to_bert = passed("127.0.0.1", "127.0.0.6")
        assert ROOM // SIZE - 2 <= to_bert <= (ROOM + (time.monotonic() - started) * SLOW / 8) // SIZE + 2
        assert passed("127.0.0.6", "127.0.0.1") == MANY

    within(work)


@pytest.mark.lab
def test_changes_leave_the_others_and_a_new_agent_leaves_all_that_is_right(
    within: Callable[[Callable[[], None]], None],
) -> None:
    def work() -> None:
        speeds = Speeds(NAME)
        do(speeds.look(desired(PEERS), repair=True))
        passed("127.0.0.5", "127.0.0.1")
        changed = {**PEERS, CARL: DesiredPeer(("127.0.0.7/32",), upload=SLOW)}
        do(speeds.hold(desired(changed), [CARL]))
        assert passed("127.0.0.7", "127.0.0.1") < MANY
        changed[BERT] = DesiredPeer(("127.0.0.8/32",), download=2 * SLOW)  # another address, and another speed
        do(speeds.hold(desired(changed), [BERT]))
        assert passed("127.0.0.1", "127.0.0.6") == MANY
        assert passed("127.0.0.1", "127.0.0.8") < MANY
        assert passed("127.0.0.5", "127.0.0.1") < ROOM // SIZE, "its bucket was filled by a change of others"
        again = Speeds(NAME)
        do(again.look(desired(changed), repair=True))
        assert passed("127.0.0.5", "127.0.0.1") < ROOM // SIZE, "its bucket was filled by a new agent"
        del changed[CARL]
        do(again.hold(desired(changed), [CARL]))
        assert passed("127.0.0.7", "127.0.0.1") == MANY
        do(again.look(desired({CARL: PEERS[CARL]}), repair=True))
        assert table() is None

    within(work)


@pytest.mark.lab
def test_what_somebody_else_changed_is_seen_and_made_again(within: Callable[[Callable[[], None]], None]) -> None:
    def work() -> None:
        speeds = Speeds(NAME)
        do(speeds.look(desired(PEERS), repair=True))
        subprocess.run(("nft", "flush", "ruleset"), check=True)
        do(speeds.look(desired(PEERS), repair=False))
        assert [each.field for each in speeds.drift] == ["speeds"]
        do(speeds.look(desired(PEERS), repair=True))
        assert (speeds.drift, table()) == ((), speed_table.contents(limits_of(PEERS).values()))
        subprocess.run(("nft", "flush", "map", "inet", speed_table.table_of(NAME), "up_hosts4"), check=True)
        again = Speeds(NAME)  # the first look of an agent reads everything
        do(again.look(desired(PEERS), repair=True))
        assert table() == speed_table.contents(limits_of(PEERS).values())
        subprocess.run(("nft", "flush", "ruleset"), check=True)
        faster = {**PEERS, ALICE: DesiredPeer(("127.0.0.5/32",), upload=2 * SLOW)}
        do(again.hold(desired(faster), [ALICE]))  # a change finds no table
        assert table() == speed_table.contents(limits_of(faster).values())

    within(work)
