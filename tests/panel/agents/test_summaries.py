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
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.pusher import NodeCycle
from wgfleet.panel.reconcile.agents.summaries import SummaryWriter, with_notes
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.services.fleet import nodes
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
        return nodes.knowing(tx, [node.id], feature) == {node.id}


@pytest.mark.parametrize("known", [(), (Feature.ADDRESS_TIMES,)])
def test_what_an_agent_knows_is_kept_until_another_one_enrolls(world: World, known: tuple[Feature, ...]) -> None:
    node = world.node("fra1")
    asyncio.run(hear(world, node, *known))
    assert knows(world, node, Feature.ADDRESS_TIMES) is bool(known)
    assert not knows(world, node, Feature.REACH)
    with world.store.write() as tx:
        row = nodes.get(tx, node.id)
        nodes.enrolled(tx, row, agent_port=1, issued=Issued(None, "another machine", 1.0))
    assert not knows(world, node, Feature.ADDRESS_TIMES)


def test_what_an_agent_says_about_its_machine_is_in_the_summary() -> None:
    assert with_notes("in sync", ()) == "in sync"
    assert with_notes("in sync", ("a is damaged", "b is damaged")) == (
        "in sync; the agent says: b is damaged (2 such notes)"
    )
    assert len(with_notes("in sync", ("x" * 10_000,))) < 600
