"""The stream merges: a slow reader ends at the same state, and costs no more than the state."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from wgfleet.agent.interfaces.watch_board import WatchBoard
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName, NodeId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import (
    HEARTBEAT_S,
    AgentStatus,
    CallBack,
    Change,
    Forwarding,
    Heartbeat,
    Load,
    Refused,
    Snapshot,
    WatchMessage,
)
from wgfleet.protocol.observed import PeerStats

WG0, OURS, FIRST = InterfaceName("wg0"), ConfigId("config-1"), Generation(1)


@dataclass
class Interface:
    name: InterfaceName = WG0
    config_id: ConfigId = OURS
    generation: Generation = FIRST
    history: str = ""
    up: bool = True
    summary: str = "as wanted"
    drift: tuple[Drift, ...] = ()
    held: tuple[str, ...] | None = None
    rivals: dict[str, str] = field(default_factory=dict)
    muted: str | None = None
    carries: bool = False
    called_back: CallBack | None = None
    forwarding: tuple[Forwarding, ...] = ()
    stats: dict[PublicKey, PeerStats] = field(default_factory=dict)


def status() -> AgentStatus:
    return AgentStatus(NodeId("n"), "0", "userspace", 0.0, 0.0, 0.0, 1.0, ())


def no_load() -> None:
    """As a meter that has only begun."""


def key(number: int) -> PublicKey:
    return PublicKey(f"key-{number}")


async def next_but_heartbeats(messages: AsyncIterator[WatchMessage]) -> WatchMessage:
    async for message in messages:
        if not isinstance(message, Heartbeat):
            return message
    raise AssertionError("the stream ended")


def test_a_slow_reader_gets_one_merged_change() -> None:
    async def scenario() -> None:
        interface = Interface()
        board = WatchBoard(lambda: [interface], lambda: 7.0, no_load, lambda: 3.0)
        messages = board.watch(status)
        assert isinstance(await anext(messages), Snapshot)
        for round_ in range(1, 1001):
            for number in range(50):
                interface.stats[key(number)] = PeerStats(rx=round_)
            board.changed(WG0, [key(number) for number in range(50)])
        del interface.stats[key(3)]
        board.changed(WG0, [key(3)])
        change = await next_but_heartbeats(messages)
        assert isinstance(change, Change)
        (report,) = change.interfaces
        assert report.peers == interface.stats
        assert report.removed_peers == (key(3),)
        await messages.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert board.readers == 0

    asyncio.run(scenario())


def test_counters_of_a_reader_that_can_wait_are_held_back_and_a_handshake_brings_them() -> None:
    async def scenario() -> None:
        interface, now = Interface(), [100.0]
        board = WatchBoard(lambda: [interface], lambda: 7.0, no_load, lambda: now[0])
        patient, other = board.watch(status, 150.0), board.watch(status)
        await anext(patient)
        await anext(other)

        def seen(after_s: float, rx: int, *, news: tuple[int, ...] = (), counted: tuple[int, ...] = ()) -> None:
            now[0] += after_s
            interface.stats |= {key(number): PeerStats(rx=rx) for number in (*news, *counted)}
            board.changed(WG0, map(key, news), map(key, counted))

        async def said(messages: AsyncIterator[WatchMessage]) -> list[dict[PublicKey, int]]:
            """Return the counters of each report until the next heartbeat."""
            found = []
            async for message in messages:
                if isinstance(message, Heartbeat):
                    break
                assert isinstance(message, Change)
                found += [{each: stats.rx for each, stats in report.peers.items()} for report in message.interfaces]
            return found

        await said(patient)  # the first heartbeat comes at once
        await said(other)
        seen(0, 1, news=(1, 2), counted=(3,))
        assert await said(patient) == [{key(1): 1, key(2): 1}]
        assert await said(other) == [{key(1): 1, key(2): 1, key(3): 1}]
        seen(100, 2, counted=(1, 2, 3))
        assert await said(patient) == [], "and no empty report either"
        seen(20, 3, news=(1,))
        assert await said(patient) == [{key(1): 3}]
        seen(30, 4, counted=(1, 2, 3))
        assert await said(patient) == [{key(3): 4}], "held back for 150 s"
        now[0] += 100
        assert await said(patient) == [{key(2): 4}], "also where nothing more is counted"
        board.changed(WG0)
        assert await said(patient) == [{}], "what is no counter does not wait"
        seen(1, 5, counted=(1, 2))
        assert await said(patient) == []
        board.hold_back(0.0)
        assert await said(patient) == [{key(1): 5, key(2): 5}]
        seen(1, 6, counted=(1,))
        assert await said(patient) == [{key(1): 6}]
        board.hold_back(150.0)
        seen(1, 7, counted=(1,))
        assert await said(patient) == []
        now[0] += 1000
        board.gone(WG0)
        board.changed(WG0)
        assert await said(patient) == [{}]
        for messages in (patient, other):
            await messages.aclose()  # type: ignore[attr-defined]  # it is a generator

    asyncio.run(scenario())


@pytest.mark.slow
def test_heartbeats_come_each_half_second_and_not_in_bursts() -> None:
    async def scenario() -> None:
        board = WatchBoard(list, lambda: 7.0, no_load, lambda: 3.0)
        messages = board.watch(status)
        await anext(messages)
        times = []
        for _ in range(3):
            assert isinstance(await anext(messages), Heartbeat)
            times.append(asyncio.get_running_loop().time())
        assert min(after - before for before, after in pairwise(times)) > 0.9 * HEARTBEAT_S
        await asyncio.sleep(2.2 * HEARTBEAT_S)  # stuck
        assert isinstance(await anext(messages), Heartbeat)
        stuck = asyncio.get_running_loop().time()
        assert isinstance(await anext(messages), Heartbeat)
        assert asyncio.get_running_loop().time() - stuck > 0.9 * HEARTBEAT_S
        await messages.aclose()  # type: ignore[attr-defined]  # it is a generator

    asyncio.run(scenario())


def test_an_interface_that_went_and_came_is_reported_as_it_is() -> None:
    async def scenario() -> None:
        interface = Interface()
        board = WatchBoard(lambda: [interface], lambda: 7.0, no_load, lambda: 3.0)
        messages = board.watch(status)
        await anext(messages)
        board.gone(WG0)
        board.changed(WG0)
        change = await next_but_heartbeats(messages)
        assert isinstance(change, Change)
        assert ([report.name for report in change.interfaces], change.gone) == ([WG0], ())
        await messages.aclose()  # type: ignore[attr-defined]  # it is a generator

    asyncio.run(scenario())


def test_refusals_are_kept_for_the_next_reader_and_bounded() -> None:
    async def scenario() -> None:
        board = WatchBoard(list, lambda: 7.0, no_load, lambda: 3.0)
        for number in range(500):
            board.refused(f"192.0.2.{number % 256}", "no certificate")
        messages = board.watch(status)
        await anext(messages)
        found = [await anext(messages) for _ in range(101)]
        assert sum(isinstance(message, Refused) for message in found) == 100
        await messages.aclose()  # type: ignore[attr-defined]  # it is a generator

    asyncio.run(scenario())


def test_the_load_comes_with_a_heartbeat_as_soon_as_there_is_one_and_then_seldom() -> None:
    async def scenario() -> None:
        load = Load(0.5, 0.25, None, 1000.0)
        known: list[Load | None] = [None, load]
        board = WatchBoard(list, lambda: 7.0, lambda: known.pop(0), lambda: 3.0)
        messages = board.watch(status)
        await anext(messages)
        assert [await anext(messages) for _ in range(3)] == [
            Heartbeat(7.0, mark=3.0),
            Heartbeat(7.0, load, 3.0),
            Heartbeat(7.0, mark=3.0),
        ]
        await messages.aclose()  # type: ignore[attr-defined]  # it is a generator

    asyncio.run(scenario())
