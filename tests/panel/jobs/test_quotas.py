"""Quotas for nodes: who holds all that is left, what is said to whom, and what is not said again."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panel.jobs.test_job_rows import LIMIT, Limited
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.jobs.job import JobField
from wgfleet.panel.domain.jobs.quotas import LEAST_SHARE, is_news, part
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents.quota_sender import QuotaSender, Wanted
from wgfleet.panel.services.jobs import decisions, quotas
from wgfleet.panel.services.jobs.commands import JobSpec
from wgfleet.protocol.features import ALL, Feature
from wgfleet.protocol.quota import ENDLESS, QuotasKept, QuotaUpdate

FAR = 100 * LEAST_SHARE


def quota_of(value: int) -> JobSpec:
    return JobSpec(JobField.TOTAL_DATA, value=value)


@given(st.integers(0, 2**60), st.booleans())
def test_no_node_lets_more_through_than_is_left(left: int, holds: bool) -> None:
    assert 0 <= part(left, holds=holds) <= left
    assert part(left, holds=True) == left
    assert is_news(5, None, left, holds=holds)
    assert is_news(6, 5, left, holds=True)


@dataclass
class Node:
    """An agent that notes what it is told."""

    connected: bool = True
    features: frozenset[Feature] = ALL
    told: list[QuotaUpdate] = field(default_factory=list)
    fails: bool = False

    @property
    def client(self) -> "Node":
        return self

    async def quotas(self, update: QuotaUpdate) -> QuotasKept:
        if self.fails:
            raise TransientError("no answer")
        self.told.append(update)
        return QuotasKept(0)


class Quotas(Limited):
    """Limited peers of two nodes, and what those are told."""

    def wanted(self) -> Wanted:
        with self.world.store.read() as tx:
            return quotas.of_nodes(tx, decisions.decide(tx, clock.now()))

    def left(self) -> list[tuple[int, int, bool]]:
        """Return, for each node and its first peer: what it had counted, what it lets through, whether it holds all."""
        found = self.wanted()
        rows = [next(iter(found[node.id, self.config.id].values())) for node in self.nodes]
        return [(each.quota.counted, each.quota.left, each.holds) for each in rows]


@pytest.fixture
def site(world: World) -> Quotas:
    return Quotas(world)


def send(sender: QuotaSender, wanted: Wanted) -> None:
    asyncio.run(sender.send(wanted))


def test_all_that_is_left_goes_with_the_session(site: Quotas) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    site.give(alice, quota_of(FAR))
    home = site.nodes.index(next(node for node in site.nodes if node.id == alice.home_node_id))
    holds = [holder for _, _, holder in site.left()]
    assert holds == [i == home for i in range(2)]
    other = site.nodes[1 - home]
    site.world.seen(site.config, other, {alice.public_key: "198.51.100.1:1"})
    site.use(alice, FAR // 2, node=1 - home)
    rows = site.left()
    assert rows[1 - home] == (FAR // 2, FAR - FAR // 2, True)
    assert rows[home] == (0, (FAR - FAR // 2) // 10, False)


def test_nodes_hear_of_what_is_news_to_them_and_again_when_they_are_back(site: Quotas) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    job = site.give(alice, quota_of(FAR))
    agents = {node.id: Node() for node in site.nodes}
    here, there = (agents[node.id] for node in site.nodes)
    site.world.seen(site.config, site.nodes[0], {alice.public_key: "198.51.100.1:1"})
    sender = QuotaSender(cast("Any", agents))
    send(sender, site.wanted())
    assert [(len(each.told), each.told[0].whole) for each in (here, there)] == [(1, True)] * 2
    site.use(alice, FAR // 1000)
    send(sender, site.wanted())
    assert (len(here.told), len(there.told)) == (1, 1)  # here it changes nothing, there next to nothing
    site.use(alice, FAR // 2)
    send(sender, site.wanted())
    assert (len(here.told), len(there.told)) == (1, 2)
    site.use(alice, FAR // 4, node=1)
    send(sender, site.wanted())
    assert (len(here.told), here.told[-1].whole) == (2, False)  # there it used what is not left here
    here.fails = True
    site.use(alice, FAR // 4 + LIMIT, node=1)
    send(sender, site.wanted())
    here.fails = False
    send(sender, site.wanted())
    assert here.told[-1].whole
    site.take(alice, job)
    send(sender, site.wanted())
    assert [row.left for row in here.told[-1].configs[cast("Any", site.config.id)]] == [ENDLESS]
    told = len(here.told)
    send(sender, site.wanted())
    assert len(here.told) == told


def test_an_older_agent_and_one_that_is_away_are_told_nothing(site: Quotas) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    site.give(alice)
    old, away = Node(features=ALL - {Feature.QUOTA}), Node(connected=False)
    send(QuotaSender(cast("Any", dict(zip([node.id for node in site.nodes], [old, away], strict=True)))), site.wanted())
    assert (old.told, away.told) == ([], [])
