"""The collector of usage: a node with more to say than a batch has is asked again at once."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from tests.panel.world import World
from wgfleet.agent.interfaces import usage as agent_usage
from wgfleet.agent.interfaces.usage import UsageMeter
from wgfleet.panel import clock
from wgfleet.panel.reconcile.agents.usage_collector import UsageCollector
from wgfleet.panel.store.tables import UsageTotal
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

    async def usage(self, request: UsageRequest) -> UsageBatch:
        self.asked += 1
        return self.meter.batch(request, clock.now())


def test_who_has_more_to_say_says_it_in_the_same_round(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_usage, "MAX_ROWS", 2)
    config = world.config()
    (node,) = world.serving(config, "ams1")
    keys = [PublicKey(peer.public_key) for peer in world.peers(config, *(f"p{number}" for number in range(PEERS)))]
    agent = StandIn(UsageMeter(machine="boot"))
    stats = dict.fromkeys(keys, PeerStats(rx=3, tx=4))
    desired = dict.fromkeys(keys, DesiredPeer(allowed_ips=("10.8.0.2/32",)))
    agent.meter.note(ConfigId(config.id), 1, keys, stats, desired, clock.now())
    line: Any = SimpleNamespace(connected=True, features={Feature.USAGE}, usage_ended=False, client=agent)
    asyncio.run(UsageCollector(world.store, {node.id: line}).collect())
    with world.store.read() as tx:
        found = [(row.received, row.sent) for row in tx.session.scalars(select(UsageTotal))]
    assert (found, agent.asked) == ([(3, 4)] * PEERS, 3)
