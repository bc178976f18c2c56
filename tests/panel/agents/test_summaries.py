"""What a node's summary says, and what is kept of its agent."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from msgspec.structs import replace

from tests.panel.floating.test_held import STATUS
from tests.panel.world import World
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.node_cycle import NodeCycle
from wgfleet.panel.reconcile.agents.summaries import SummaryWriter, with_notes
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.services.fleet import node_agents, nodes
from wgfleet.panel.store.tables import Node
from wgfleet.protocol.features import Feature
from wgfleet.protocol.messages import Snapshot, WatchMessage


class Agent:
    """Says once what it knows, and stops."""

    features: frozenset[Feature] = frozenset()

    def __init__(self, *known: Feature) -> None:
        self._known = known

    async def watch(self, hear: Callable[[WatchMessage], None]) -> None:
        hear(Snapshot(replace(STATUS, features=self._known), ()))

    async def aclose(self) -> None:
        """Nothing to close."""


async def hear(world: World, node: Node, *known: Feature) -> None:
    """Have an agent be heard, and its node's cycle be idle."""
    heard = asyncio.Event()
    connection = AgentConnection(node.id, cast("AgentClient", Agent(*known)), world.store, heard.set)
    connection.start(BackgroundTasks())
    try:
        await heard.wait()
        await SummaryWriter(world.store).write(connection, NodeCycle("in sync", idle=True))
    finally:
        await connection.close()


def knows(world: World, node: Node, feature: Feature) -> bool:
    with world.store.read() as tx:
        return node_agents.knowing(tx, [node.id], feature) == {node.id}


@pytest.mark.parametrize("known", [(), (Feature.ADDRESS_TIMES,)])
def test_what_an_agent_knows_is_kept_until_another_one_enrolls(world: World, known: tuple[Feature, ...]) -> None:
    node = world.node("fra1")
    asyncio.run(hear(world, node, *known))
    assert knows(world, node, Feature.ADDRESS_TIMES) is bool(known)
    assert not knows(world, node, Feature.REACH)
    with world.store.write() as tx:
        row = nodes.get(tx, node.id)
        node_agents.enrolled(tx, row, agent_port=1, issued=Issued(None, "another machine", 1.0))
    assert not knows(world, node, Feature.ADDRESS_TIMES)


def test_what_an_agent_says_about_its_machine_is_in_the_summary() -> None:
    assert with_notes("in sync", ()) == "in sync"
    assert with_notes("in sync", ("a is damaged", "b is damaged")) == (
        "in sync; the agent says: b is damaged (2 such notes)"
    )
    assert len(with_notes("in sync", ("x" * 10_000,))) < 600


def cycle_of(world: World, node: Node) -> tuple[AgentConnection, NodeCycle]:
    connection = AgentConnection(node.id, cast("AgentClient", Agent()), world.store, lambda: None)
    return connection, NodeCycle(f"cannot be managed: {node.name} is off")


def test_summaries_of_many_nodes_at_once_share_transactions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [world.node(f"n{number}") for number in range(20)]
    with world.store.write() as tx:
        nodes.delete(tx, "test", nodes.get(tx, found[3].id))
    real, begun = world.store.write, []
    monkeypatch.setattr(world.store, "write", lambda: begun.append(1) or real())  # type: ignore[func-returns-value]

    async def write() -> None:
        writer = SummaryWriter(world.store)
        await asyncio.gather(*(writer.write(*cycle_of(world, node)) for node in found))
        assert len(begun) <= 2
        await asyncio.gather(*(writer.write(*cycle_of(world, node)) for node in found))
        assert len(begun) <= 2, "nothing was new"

    asyncio.run(write())
    with world.store.read() as tx:
        assert {nodes.get(tx, node.id).summary for node in found if node is not found[3]} == {
            f"cannot be managed: {node.name} is off" for node in found if node is not found[3]
        }


def test_a_summary_that_could_not_be_written_is_written_with_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fra1, ams1 = world.node("fra1"), world.node("ams1")
    real, away = world.store.write, [True]

    def write() -> object:
        if away.pop():
            raise Unavailable("the database is away")
        away.append(False)
        return real()

    monkeypatch.setattr(world.store, "write", write)

    async def both() -> list[BaseException | None]:
        writer = SummaryWriter(world.store)
        away.extend([False, True])
        said = await asyncio.gather(
            *(writer.write(*cycle_of(world, node)) for node in (fra1, ams1)), return_exceptions=True
        )
        await writer.write(*cycle_of(world, fra1))
        return said

    said = asyncio.run(both())
    assert [type(each) for each in said] == [Unavailable, type(None)]
    with world.store.read() as tx:
        for node in (fra1, ams1):
            assert nodes.get(tx, node.id).summary == f"cannot be managed: {node.name} is off"


def test_one_agents_words_keep_no_other_summary_from_the_rows(world: World) -> None:
    """They are written together, and PostgreSQL takes no text with a NUL."""
    nodes_of = [world.node(name) for name in ("fra1", "ams1", "par1")]
    writer = SummaryWriter(world.store)

    async def write(node: Node, version: str) -> None:
        line = AgentConnection(node.id, cast("AgentClient", Agent()), world.store, lambda: None)
        line.connected, line.status = True, replace(STATUS, version=version)
        await writer.write(line, NodeCycle("in sync", idle=False))

    async def run() -> None:
        async with writer._turn:  # noqa: SLF001 - all come up while another is written
            tasks = [asyncio.create_task(write(*each)) for each in zip(nodes_of, "\x0012", strict=True)]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        for node, version in zip(nodes_of[1:], "12", strict=True):
            await write(node, version)

    asyncio.run(run())
    with world.store.read() as tx:
        assert [nodes.get(tx, node.id).agent_version for node in nodes_of[1:]] == ["1", "2"]


def test_words_of_an_agent_about_itself_are_clean(world: World) -> None:
    node = world.node("fra1")
    line = AgentConnection(node.id, cast("AgentClient", Agent()), world.store, lambda: None)
    line._take(Snapshot(replace(STATUS, version="1\0" * 999, notes=("\0x",) * 999), ()))  # noqa: SLF001 - as the stream gives it
    asyncio.run(SummaryWriter(world.store).write(line, NodeCycle("in sync", idle=False)))
    with world.store.read() as tx:
        row = nodes.get(tx, node.id)
        assert row.agent_version is not None
        assert row.agent_version.isprintable()
        assert len(row.agent_version) <= 200
