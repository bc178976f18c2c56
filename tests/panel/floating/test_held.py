"""Whether a node still has a floating address follows from what its agent says it holds, and from nothing else."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from tests.panel.conftest import one_database
from tests.panel.floating.test_holders import A1, carried, put
from tests.panel.world import World
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import node_agents
from wgfleet.panel.services.floating import holders, views
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName, NodeId
from wgfleet.protocol.messages import AgentStatus, Applied, InterfaceReport, Snapshot, WatchMessage

A10 = "203.0.113.10"
STATUS = AgentStatus(NodeId("n"), "0", "userspace", 0.0, 0.0, 0.0, 1.0, ())


class Agent:
    """Reports what it is given, and answers pushes with it."""

    def __init__(self, report: InterfaceReport, answer: Applied | None = None) -> None:
        self._report = report
        self._answer = answer

    async def watch(self, hear: Callable[[WatchMessage], None]) -> None:
        hear(Snapshot(STATUS, (self._report,)))
        await asyncio.Event().wait()

    async def push(self, _push: object, _shared: bytes = b"") -> Applied:
        assert self._answer is not None
        return self._answer

    async def aclose(self) -> None:
        """Nothing to close."""


async def converse(world: World, node: Node, agent: Agent) -> None:
    """Connect to an agent, and do one cycle of its node's reconciler."""
    heard = asyncio.Event()
    connection = AgentConnection(node.id, cast("AgentClient", agent), world.store, heard.set)
    connection.start(BackgroundTasks())
    try:
        await heard.wait()
        await Pusher(world.store, world.vault, cast("Any", None), 90).cycle(connection)
    finally:
        await connection.close()


def report(world: World, config: Config, generation: int | None = None, **said: Any) -> InterfaceReport:
    with world.store.read() as tx:
        generation = generation or configs.get(tx, config.id).generation
    return InterfaceReport(InterfaceName(config.name), ConfigId(config.id), Generation(generation), True, "", **said)


def empty(world: World, config: Config, node: Node) -> None:
    with world.store.write() as tx:
        holders.empty(tx, config.id, node.id)


def leaving(world: World, config: Config) -> dict[str, str | None]:
    """Return each address with the name of the node that has yet to give it up."""
    with world.store.read() as tx:
        return {view.address: view.leaving.name if view.leaving else None for view in views.views(tx, config.id)}


def conflicts(world: World, config: Config) -> dict[str, str | None]:
    with world.store.read() as tx:
        return {view.address: view.conflict for view in views.views(tx, config.id)}


@one_database
def test_who_has_an_address_beside_its_holder_is_shown_until_its_agent_says_that_it_is_over(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1, A10)
    world.sync(config, fra1)
    with world.store.write() as tx:
        node_agents.reported(tx, fra1.id, connected=True)
    for said, shown in (
        ({A1: "02:00:00:00:00:01"}, {A1: "02:00:00:00:00:01 has it too, says fra1", A10: None}),
        ({}, {A1: None, A10: None}),
    ):
        asyncio.run(converse(world, fra1, Agent(report(world, config, held=(A1, A10), rivals=said))))
        assert conflicts(world, config) == shown
        with world.store.read() as tx:
            assert views.conflicts(tx) == len(said)


@one_database
def test_two_nodes_that_say_that_they_have_an_address_are_a_conflict_while_both_are_heard(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    for node in (fra1, ams1):
        with world.store.write() as tx:
            node_agents.reported(tx, node.id, connected=True)
        asyncio.run(converse(world, node, Agent(report(world, config, held=(A1,)))))
    assert conflicts(world, config) == {A1: "ams1, fra1 have it at the same time"}
    with world.store.write() as tx:
        node_agents.reported(tx, ams1.id, connected=False)
    assert conflicts(world, config) == {A1: None}


@one_database
def test_a_former_holder_that_is_to_give_an_address_up_is_no_conflict(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    empty(world, config, fra1)
    for node, said in ((fra1, {}), (ams1, {A1: "02:00:00:00:00:01"})):
        with world.store.write() as tx:
            node_agents.reported(tx, node.id, connected=True)
        asyncio.run(converse(world, node, Agent(report(world, config, generation=1, held=(A1,), rivals=said))))
    assert leaving(world, config) == {A1: "fra1"}
    assert conflicts(world, config) == {A1: None}


def test_an_address_that_another_one_begins_with_is_free_while_the_other_is_still_there(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    put(world, config, A1, A10)
    world.sync(config, fra1)
    (ams1,) = world.serving(config, "ams1")
    empty(world, config, fra1)
    still_there = Drift(f"floating.{A10}", "absent", "present")
    asyncio.run(converse(world, fra1, Agent(report(world, config, drift=(still_there,), held=(A10,)))))
    assert leaving(world, config) == {A1: None, A10: "fra1"}
    world.sync(config, ams1)
    assert carried(world, config, ams1) == {A1: ["ams1"]}


@one_database
def test_an_address_that_could_not_be_removed_is_not_free_however_much_else_differs(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    empty(world, config, fra1)
    # Of more than 100 peers that differ; what an agent says of floating addresses comes after them, and is cut off.
    peers = tuple(Drift(f"peers.key-{number}", "present", "absent") for number in range(100))
    asyncio.run(converse(world, fra1, Agent(report(world, config, drift=peers, held=(A1,)))))
    assert leaving(world, config) == {A1: "fra1"}
    world.sync(config, ams1)
    assert carried(world, config, ams1) == {}
    # Once it could be removed, nothing else in the report has changed.
    asyncio.run(converse(world, fra1, Agent(report(world, config, drift=peers, held=()))))
    assert leaving(world, config) == {A1: None}
    world.sync(config, ams1)
    assert carried(world, config, ams1) == {A1: ["ams1"]}


@one_database
def test_an_agent_that_does_not_say_what_it_holds_may_still_hold_it(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    empty(world, config, fra1)
    asyncio.run(converse(world, fra1, Agent(report(world, config))))
    assert leaving(world, config) == {A1: "fra1"}
    world.sync(config, ams1)
    assert carried(world, config, ams1) == {}


@one_database
def test_the_answer_to_a_push_is_enough_to_free_an_address(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    before = report(world, config, held=(A1,))
    empty(world, config, fra1)
    now = report(world, config).generation
    for held, waits_for in (((A1,), "fra1"), ((), None)):
        answer = Applied(now, changed=True, verified=True, seconds=0.1, held=held)
        asyncio.run(converse(world, fra1, Agent(before, answer)))
        assert leaving(world, config) == {A1: waits_for}
