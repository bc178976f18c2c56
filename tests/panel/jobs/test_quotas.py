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
from wgfleet.panel.domain.jobs.quotas import is_news, part
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents.quota_sender import SETTLED_S, QuotaSender, Wanted
from wgfleet.panel.services.jobs import decisions, quotas
from wgfleet.panel.services.jobs.commands import JobSpec
from wgfleet.protocol.features import ALL, Feature
from wgfleet.protocol.quota import ENDLESS, QuotasKept, QuotaUpdate

FAR = 100 << 20


def quota_of(value: int) -> JobSpec:
    return JobSpec(JobField.TOTAL_DATA, value=value)


@given(st.integers(0, 2**60), st.integers(0, 300))
def test_all_nodes_together_let_no_more_through_than_is_left(left: int, others: int) -> None:
    holder, other = part(left, holds=True, others=others), part(left, holds=False, others=others)
    assert 0 <= other <= holder
    assert holder + others * other <= left
    assert holder >= left - left // 10


def test_a_holder_hears_at_once_of_less_and_of_more_with_each_fifth() -> None:
    assert is_news(5, None, FAR, holds=True)
    assert is_news(5, 6, FAR, holds=True)
    assert not is_news(FAR + FAR // 50, FAR, FAR, holds=True)
    assert is_news(FAR + FAR // 50 + 1, FAR, FAR, holds=True)


@dataclass
class Node:
    """An agent that notes what it is told."""

    connected: bool = True
    features: frozenset[Feature] = ALL
    told: list[QuotaUpdate] = field(default_factory=list)
    fails: bool = False
    usage_ended: bool = False
    usage_read: tuple[float, float] = (0.0, 0.0)

    def is_read(self) -> None:
        """Have its counters read and written by now, and told of what it holds long before."""
        self.usage_read = (clock.monotonic() + SETTLED_S, clock.monotonic())

    def ceiling(self) -> int:
        """Return what was last said of its only peer."""
        (quota,) = next(rows for each in reversed(self.told) for rows in each.configs.values() if rows)
        return quota.counted + quota.left

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
    async def sent() -> None:
        await sender.send(wanted, clock.monotonic())
        await asyncio.sleep(1.5 * SETTLED_S)

    asyncio.run(sent())


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
    left = FAR - FAR // 2
    assert rows[1 - home] == (FAR // 2, left - left // 10, True)
    assert rows[home] == (0, left // 10, False)


def test_a_new_holder_gets_the_rest_when_what_the_last_one_counted_was_read(site: Quotas) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    site.give(alice, quota_of(FAR))
    site.world.seen(site.config, site.nodes[0], {alice.public_key: "198.51.100.1:1"})
    agents = {node.id: Node() for node in site.nodes}
    here, there = (agents[node.id] for node in site.nodes)
    sender = QuotaSender(cast("Any", agents))
    send(sender, site.wanted())
    before = here.ceiling()
    assert (before, there.ceiling()) == (FAR - FAR // 10, FAR // 10)
    site.use(alice, FAR // 4)  # as read; it uses more until the node hears that it no longer holds the rest
    site.world.seen(site.config, site.nodes[1], {alice.public_key: "198.51.100.1:1"})
    for _ in range(2):
        send(sender, site.wanted())
        assert here.ceiling() < before
        assert there.ceiling() == FAR // 10
        assert here.usage_ended
    site.use(alice, FAR // 2)
    here.is_read()
    send(sender, site.wanted())
    assert there.ceiling() > FAR // 10
    assert max(here.ceiling(), FAR // 2) + there.ceiling() <= FAR
    assert there.ceiling() >= (FAR - FAR // 2) * 8 // 10


def test_a_node_that_is_away_keeps_nobody_from_the_rest(site: Quotas) -> None:
    (alice,) = site.world.peers(site.config, "alice")
    site.give(alice, quota_of(FAR))
    site.world.seen(site.config, site.nodes[0], {alice.public_key: "198.51.100.1:1"})
    agents = {node.id: Node() for node in site.nodes}
    here, there = (agents[node.id] for node in site.nodes)
    sender = QuotaSender(cast("Any", agents))
    send(sender, site.wanted())
    site.world.seen(site.config, site.nodes[1], {alice.public_key: "198.51.100.1:1"})
    here.fails = True  # what was said to it is not known to have come
    send(sender, site.wanted())
    send(sender, site.wanted())
    assert there.ceiling() == FAR // 10
    here.connected = False
    send(sender, site.wanted())
    assert there.ceiling() == FAR - FAR // 10


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
