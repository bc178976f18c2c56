"""The collector of usage: a node with more to say than a batch has is asked again at once."""

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from tests.panel.world import World
from wgfleet.agent.interfaces import usage as agent_usage
from wgfleet.agent.interfaces.usage import UsageMeter
from wgfleet.panel import clock
from wgfleet.panel.agents import client
from wgfleet.panel.reconcile.agents.shared_files import SharedFiles
from wgfleet.panel.reconcile.agents.usage_collector import UsageCollector
from wgfleet.panel.store.tables import Config, UsageTotal
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats
from wgfleet.protocol.usage import UsageBatch, UsageRequest

PEERS = 5


class StandIn:
    """A node's agent, as far as it tells of usage."""

    def __init__(self, meter: UsageMeter) -> None:
        self.meter = meter
        self.asked = 0
        self.counters_s = client.COUNTERS_S

    async def usage(self, request: UsageRequest) -> UsageBatch:
        self.asked += 1
        return self.meter.batch(request, clock.now())


def line_of(agent: StandIn, config: Config) -> Any:
    reported = {"connected": True, "features": {Feature.USAGE}, "usage_ended": False, "config_ids": {config.id}}
    return SimpleNamespace(**reported, client=agent)


def test_a_node_is_asked_at_once_for_counters_that_devices_with_one_file_are_told_by(world: World) -> None:
    config = world.config()
    (node,) = world.serving(config, "ams1")
    agent, shared = StandIn(UsageMeter(machine="boot")), SharedFiles()
    collector = UsageCollector(world.store, {node.id: line_of(agent, config)}, shared=shared)

    async def rounds() -> list[tuple[int, float]]:
        found = []
        for shared.configs in ((), (), {config.id}, {config.id}, {"another"}, {"another"}):
            await collector.collect()
            found.append((agent.asked, agent.counters_s))
        return found

    wait_s = client.COUNTERS_S
    assert asyncio.run(rounds()) == [(1, wait_s), (1, wait_s), (2, 0.0), (2, 0.0), (3, wait_s), (3, wait_s)]


def test_very_many_nodes_are_not_asked_at_once_by_a_panel_that_starts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was used waits on the nodes; that all is shown right, and who serves, waits for nothing."""
    fractions, now = itertools.cycle(number / 10 for number in range(10)), [clock.monotonic()]
    monkeypatch.setattr(clock, "fraction", lambda: next(fractions))
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    config = world.config()
    (node,) = world.serving(config, "ams1")
    agents = {node.id if number == 0 else f"node{number}": StandIn(UsageMeter(machine="boot")) for number in range(220)}
    lines = {node_id: line_of(agent, config) for node_id, agent in agents.items()}
    collector = UsageCollector(world.store, lines, counting=lambda: {"node7"})

    async def asked_after(seconds: float) -> int:
        for _ in range(round(seconds)):
            now[0] += 1
            await collector.collect()
        return sum(agent.asked > 0 for agent in agents.values())

    async def asked() -> list[int]:
        return [await asked_after(seconds) for seconds in (3, 12, 16)]

    early, half, all_of_them = asyncio.run(asked())
    assert early < 50
    assert agents["node7"].asked > 10, "on whose counters a limit depends"
    assert 90 < half < 130
    assert all_of_them == 220


def test_who_has_more_to_say_says_it_in_the_same_round(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_usage, "MAX_ROWS", 2)
    config = world.config()
    (node,) = world.serving(config, "ams1")
    keys = [PublicKey(peer.public_key) for peer in world.peers(config, *(f"p{number}" for number in range(PEERS)))]
    agent = StandIn(UsageMeter(machine="boot"))
    stats = dict.fromkeys(keys, PeerStats(rx=3, tx=4))
    desired = dict.fromkeys(keys, DesiredPeer(allowed_ips=("10.8.0.2/32",)))
    agent.meter.note(ConfigId(config.id), 1, keys, stats, desired, clock.now())
    line = line_of(agent, config)
    asyncio.run(UsageCollector(world.store, {node.id: line}).collect())
    with world.store.read() as tx:
        found = [(row.received, row.sent) for row in tx.session.scalars(select(UsageTotal))]
    assert (found, agent.asked) == ([(3, 4)] * PEERS, 3)
