"""What the push cycle sends to agents of other releases, and what it does when they refuse it."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.panel.authority import keep
from tests.panel.floating.test_holders import A1, holder_names, put
from tests.panel.world import World
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.reconcile.agents.connection import AgentConnection, Reported
from wgfleet.panel.reconcile.agents.node_cycle import NodeCycle
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.reconcile.engine.threads import Work
from wgfleet.panel.services import generations
from wgfleet.panel.services.fleet import assignments, desired
from wgfleet.panel.services.floating import holders
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Node
from wgfleet.protocol import features
from wgfleet.protocol.desired import DesiredInterface, InterfaceDelta, Push
from wgfleet.protocol.features import ALL, NONE, Feature
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import AgentStatus, Applied, Refusal, Snapshot, WatchMessage


class StrictAgent:
    """Says that it has all features, and refuses every push that is not rendered for 0.1.0 as of an unknown field."""

    def __init__(self) -> None:
        self.pushed: list[Push] = []
        self.features = NONE

    async def watch(self, hear: Callable[[WatchMessage], None]) -> None:
        status = AgentStatus(NodeId("n"), "0", "userspace", 0.0, 0.0, 0.0, 1.0, (), features=tuple(ALL))
        hear(Snapshot(status, ()))
        await asyncio.Event().wait()

    async def push(self, push: Push, _shared: bytes = b"") -> Applied:
        self.pushed.append(push)
        if self.features:
            detail = "settings.isolation: is not a known field"
            raise AgentRefused(detail, Refusal("a field is invalid", 422, detail, "bad_field"))
        return Applied(push.generation, changed=True, verified=True, seconds=0.1)

    async def aclose(self) -> None:
        """Nothing to close."""


async def converse(world: World, node: Node, agent: StrictAgent, cycles: int) -> list[NodeCycle]:
    heard = asyncio.Event()
    connection = AgentConnection(node.id, cast("AgentClient", agent), world.store, heard.set)
    connection.start(BackgroundTasks())
    try:
        await heard.wait()
        pusher = Pusher(world.store, world.vault, keep(world.store, world.vault), 90)
        return [await pusher.cycle(connection) for _ in range(cycles)]
    finally:
        await connection.close()


def test_an_agent_that_refuses_a_field_gets_what_0_1_0_knows(world: World) -> None:
    config = world.config()
    (node,) = world.serving(config, "n1")
    agent = StrictAgent()
    first, second, third = asyncio.run(converse(world, node, agent, 3))
    assert "settings.isolation: is not a known field" in first.summary
    assert "what an agent of 0.1.0 knows" in first.summary
    assert "whole, verified" in second.summary
    assert third.idle
    assert [type(push) for push in agent.pushed] == [DesiredInterface] * 2


def test_renderings_for_agents_of_two_releases_are_not_mixed_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes of a cluster are woken together; the agent of one does not know what that of the other does."""
    config = world.config()
    nodes = world.serving(config, "n1", "n2")
    world.peers(config, "anna")
    rendered: list[frozenset[Feature]] = []

    def for_agent(push: Push, known: frozenset[Feature]) -> Push:
        rendered.append(known)
        return push

    monkeypatch.setattr(features, "for_agent", for_agent)
    pusher = Pusher(world.store, world.vault, keep(world.store, world.vault), 90)

    async def both() -> None:
        for node, known in zip(nodes, (ALL, NONE), strict=True):
            agent = StrictAgent()
            connection = AgentConnection(node.id, cast("AgentClient", agent), world.store, lambda: None)
            has = world.agents[node.id, config.id].generation
            connection.connected, connection.features = True, known
            with world.store.read() as tx:
                assignment = assignment_rows.get(tx, config.id, node.id)
                assert assignment is not None
                history = desired.history(tx, config, assignment, has, known)
            connection.reported = {"wg0": Reported(config.id, has, (), None, "", history)}
            await pusher.cycle(connection)
            assert [type(push) for push in agent.pushed] == [InterfaceDelta]

    asyncio.run(both())
    assert rendered == [ALL, NONE]


class Giver(StrictAgent):
    """Applies all that it gets, and holds the floating addresses that it is to hold."""

    async def push(self, push: Push, _shared: bytes = b"") -> Applied:
        floating = push.settings.floating if push.settings is not None else None
        held = floating.addresses if floating is not None else ()
        return Applied(push.generation, changed=True, verified=True, seconds=0.1, held=held)


def test_that_an_address_is_given_up_and_taken_is_written_before_what_nobody_waits_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clients have no node until then."""
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    threads: list[str] = []
    confirmed = assignments.confirmed

    def noted(*args: Any, **more: Any) -> None:
        threads.append(threading.current_thread().name.partition("_")[0])
        confirmed(*args, **more)

    monkeypatch.setattr(assignments, "confirmed", noted)

    def bump() -> None:
        with world.store.write() as tx:
            generations.bump(tx, config.id, settings=True)

    def move() -> None:
        with world.store.write() as tx:
            holders.give(tx, config.id, {A1: ams1.id})

    for change, node, written in ((bump, fra1, Work.ORDINARY), (move, fra1, Work.URGENT), (None, ams1, Work.URGENT)):
        if change is not None:
            change()
        asyncio.run(converse(world, node, Giver(), 1))
        assert threads.pop() == written.value, (change, node.name)
    assert holder_names(world, config) == {A1: "ams1"}
    with world.store.read() as tx:
        assert not holders.handovers(tx, config.id)
