"""How pushes that only brought changes of peers are written: a second's worth in one transaction, and nothing lost."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import pytest

from tests.panel.agents.model import ModelAgent
from tests.panel.authority import keep
from tests.panel.conftest import one_database
from tests.panel.floating.test_holders import A1, put
from tests.panel.world import World
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.node_cycle import NodeCycle
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.reconcile.agents.routine_news import RoutineNews
from wgfleet.panel.reconcile.agents.summaries import SummaryWriter
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import node_agents
from wgfleet.panel.services.floating import holders
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store.tables import Assignment, Config, Node


@dataclass
class Cluster:
    """Three nodes that serve a config and have everything, and what writes the news of them."""

    world: World
    config: Config
    lines: list[AgentConnection]
    pusher: Pusher
    news: RoutineNews
    summaries: SummaryWriter
    writes: list[int]

    def cycles(self) -> list[NodeCycle]:
        """Do a cycle of each node, and have its summary written as its reconciler does."""

        async def one(line: AgentConnection) -> NodeCycle:
            cycle = await self.pusher.cycle(line)
            await self.summaries.write(line, cycle)
            return cycle

        async def all_of_them() -> list[NodeCycle]:
            return [await one(line) for line in self.lines]

        return asyncio.run(all_of_them())

    def rows(self) -> list[tuple[Assignment, Node]]:
        with self.world.store.read() as tx:
            return assignment_rows.of_config(tx, self.config.id)

    def behind(self) -> list[int]:
        """By how many generations the rows say that each node is behind."""
        with self.world.store.read() as tx:
            generation = configs.get(tx, self.config.id).generation
        return [generation - assignment.applied_generation for assignment, _ in self.rows()]

    def count_writes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = self.world.store.write
        monkeypatch.setattr(self.world.store, "write", lambda: self.writes.append(1) or real())  # type: ignore[func-returns-value]


@contextmanager
def cluster(world: World) -> Iterator[Cluster]:
    config = world.config()
    summaries = SummaryWriter(world.store)
    news = RoutineNews(world.store, summaries)
    lines = []
    for node in world.serving(config, "n1", "n2", "n3"):
        line = AgentConnection(node.id, cast("AgentClient", ModelAgent()), world.store, lambda: None)
        line.connected, line.features = True, ModelAgent().features
        lines.append(line)
    pusher = Pusher(world.store, world.vault, keep(world.store, world.vault), 90, news=news)
    found = Cluster(world, config, lines, pusher, news, summaries, [])
    found.cycles()
    asyncio.run(news.flush())
    assert found.behind() == [0, 0, 0]
    yield found


@one_database
def test_a_new_peer_on_many_nodes_is_one_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster(world) as it:
        world.peers(it.config, "anna")
        it.count_writes(monkeypatch)
        assert all("delta" in cycle.summary for cycle in it.cycles())
        assert all(cycle.idle for cycle in it.cycles()), "what is kept is not confirmed apart"
        assert it.writes == []
        assert it.behind() == [1, 1, 1]
        asyncio.run(it.news.flush())
        assert len(it.writes) == 1
        assert it.behind() == [0, 0, 0]
        assert all("delta" in assignment.summary and "delta" in node.summary for assignment, node in it.rows())
        asyncio.run(it.news.flush())
        assert len(it.writes) == 1, "nothing was new"


def test_what_could_not_be_written_is_written_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster(world) as it:
        world.peers(it.config, "anna")
        it.cycles()
        with monkeypatch.context() as patched:
            patched.setattr(it.world.store, "write", _unavailable)
            with pytest.raises(Unavailable):
                asyncio.run(it.news.flush())
        world.peers(it.config, "bert")
        it.cycles()
        asyncio.run(it.news.flush())
        assert it.behind() == [0, 0, 0]


@one_database
def test_news_that_break_the_write_are_found_again_by_the_next_cycles(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster(world) as it:
        world.peers(it.config, "anna")
        it.cycles()
        with monkeypatch.context() as patched:
            patched.setattr(node_agents, "reported", _bug)
            with pytest.raises(ZeroDivisionError):
                asyncio.run(it.news.flush())
        it.cycles()
        assert it.behind() == [0, 0, 0]
        assert all(node.summary for _, node in it.rows())


def _disabled(it: Cluster) -> None:
    with it.world.store.write() as tx:
        config_rows.bump(tx, it.config.id, settings=True)


def _removed(it: Cluster) -> None:
    it.world.drain(it.rows()[0][1])


def _judged(it: Cluster) -> None:
    for assignment, _ in it.rows():
        with it.world.store.write() as tx:
            assignment_rows.applied(tx, assignment.id, health=Health.DOWN)


@pytest.mark.parametrize("change", [_disabled, _removed, _judged])
@one_database
def test_what_somebody_may_wait_for_is_written_at_once(world: World, change: Callable[[Cluster], None]) -> None:
    with cluster(world) as it:
        world.peers(it.config, "anna")
        change(it)
        it.cycles()
        assert it.behind() == [0, 0, 0]


@one_database
def test_what_is_kept_does_not_undo_what_was_written_since(world: World) -> None:
    with cluster(world) as it:
        world.peers(it.config, "anna")
        it.cycles()
        _disabled(it)
        it.cycles()
        before = [(assignment.applied_generation, assignment.summary) for assignment, _ in it.rows()]
        asyncio.run(it.news.flush())
        assert [(assignment.applied_generation, assignment.summary) for assignment, _ in it.rows()] == before


def _unavailable() -> None:
    raise Unavailable("the database is away")


def _bug(*_: object, **__: object) -> None:
    raise ZeroDivisionError


@one_database
def test_what_nodes_are_to_have_next_does_not_wait_for_their_summaries(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clients of an address that moves have no node until the next cycles of both."""
    with cluster(world) as it:
        put(world, it.config, A1)
        it.cycles()
        asyncio.run(it.news.flush())
        taker = it.rows()[1][1]
        with world.store.write() as tx:
            holders.give(tx, it.config.id, {A1: taker.id})
        it.count_writes(monkeypatch)
        it.cycles()
        assert len(it.writes) == 3, "what each has applied"
        asyncio.run(it.news.flush())
        generation = f"generation {it.rows()[0][0].applied_generation} "
        assert all(generation in node.summary for _, node in it.rows())
