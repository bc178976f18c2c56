"""What a panel does first when it starts, and what waits for that."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.panel.authority import keep
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile import dispatcher as dispatcher_module
from wgfleet.panel.reconcile.agents import panel_start
from wgfleet.panel.reconcile.agents.connections import Connections
from wgfleet.panel.reconcile.dispatcher import AT_ONCE, Dispatcher
from wgfleet.panel.reconcile.engine.keyed_runner import Key, Runner
from wgfleet.panel.services import incarnations
from wgfleet.panel.services.fleet import node_agents, nodes
from wgfleet.panel.store import Tx
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.wakes import Topic, Wake
from wgfleet.protocol.features import NONE

NO_NAMES = SimpleNamespace(begin_lacking=lambda: None)
"""A DNS of configs none of which lacks a name."""


class Looks:
    """A runner that notes whether a node's row says that it is connected when the node is to be looked at."""

    def __init__(self, world: World, node_id: str) -> None:
        self._world = world
        self._node_id = node_id
        self.connected: list[bool] = []
        self.first = asyncio.Event()

    def wake(self, key: Key) -> None:
        if key == Key(Topic.NODE, self._node_id):
            with self._world.store.read() as tx:
                self.connected.append(nodes.get(tx, self._node_id).connected)
            self.first.set()


def test_nobody_connects_to_nodes_before_their_rows_say_that_none_is_connected(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would say for ever that a node is not connected: what it is was written before, and is not news."""
    node = world.node("fra1")
    with world.store.write() as tx:
        node_agents.reported(tx, node.id, connected=True, known=NONE)
    real, tries = node_rows.all_disconnected, list[Tx]()

    def locked_at_first(tx: Tx) -> None:
        tries.append(tx)
        if len(tries) == 1:
            raise Unavailable("somebody else has it")
        real(tx)

    monkeypatch.setattr(node_rows, "all_disconnected", locked_at_first)
    authorities = keep(world.store, world.vault)
    with pytest.raises(Unavailable):
        panel_start.begin(world.store, world.vault, authorities, 30)
    with world.store.read() as tx:
        assert incarnations.newest(tx) is None, "no start without it"
    panel_start.begin(world.store, world.vault, authorities, 30)

    async def work() -> Looks:
        looks = Looks(world, node.id)
        dispatcher = Dispatcher(world.store, cast("Runner", looks), cast("Connections", {}), cast("Any", None))
        dispatcher.listen()
        tasks = [asyncio.create_task(each) for each in (dispatcher.run(), dispatcher.resync())]
        try:
            with world.store.write() as tx:
                tx.wake(Topic.NODE, node.id)
            async with asyncio.timeout(20):
                await looks.first.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return looks

    assert not any(asyncio.run(work()).connected)


class Wakened:
    """A runner that counts the wakes of nodes."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.others: list[Key] = []
        self.another = asyncio.Event()

    def wake(self, key: Key) -> None:
        if key.kind != Topic.NODE:
            self.others.append(key)
        if key.kind == Topic.NODE:
            self.nodes.append(key.id)
            self.another.set()


def test_nodes_get_the_first_of_many_new_peers_at_once_and_the_rest_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    (node,) = world.serving(config, "fra1")
    now = clock.monotonic()

    async def work() -> None:
        woken = Wakened()
        dispatcher = Dispatcher(world.store, cast("Runner", woken), cast("Connections", {}), cast("Any", None))
        with monkeypatch.context() as stopped:
            stopped.setattr(clock, "monotonic", lambda: now)
            for _ in range(40):
                await dispatcher.dispatch([Wake(Topic.NEW_PEERS, config.id)])
            assert woken.nodes == [node.id] * AT_ONCE
            for _ in range(5):
                await dispatcher.dispatch([Wake(Topic.NEW_PEERS, config.id), Wake(Topic.PEERS, config.id)])
            assert woken.nodes == [node.id] * (AT_ONCE + 5), "what else changes in peers does not wait"
        woken.another.clear()
        running = asyncio.create_task(dispatcher.run())
        try:
            async with asyncio.timeout(60):
                await woken.another.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(work())


def test_a_round_looks_at_nodes_one_after_another_and_at_all_at_once_where_wakes_were_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 at once are some seconds of processor, for which who has no node would wait."""
    nodes = {world.node(f"fra{number}").id for number in range(3)}
    monkeypatch.setattr(dispatcher_module, "RESYNC_S", 60.0)

    async def work() -> None:
        woken = Wakened()
        dispatcher = Dispatcher(
            world.store, cast("Runner", woken), cast("Connections", {}), cast("Any", NO_NAMES), lambda: ["unasked"]
        )
        running = asyncio.create_task(dispatcher.resync())

        async def until(number: int) -> None:
            async with asyncio.timeout(60):
                while len(woken.nodes) < number:
                    woken.another.clear()
                    await woken.another.wait()

        try:
            await until(3)
            assert set(woken.nodes) == nodes
            dispatcher.look_at_everything()
            await until(6)
            assert set(woken.nodes[3:]) == nodes
            assert woken.others == [Key(Topic.RELAY, "unasked")] * 2
            monkeypatch.setattr(dispatcher_module, "RESYNC_S", 0.0)
            monkeypatch.setattr(dispatcher_module, "NODES_A_SECOND", 0.1)
            dispatcher.look_at_everything()
            await until(10)
            assert set(woken.nodes[6:9]) == nodes
            assert len(woken.nodes) == 10, "those of the next round come one by one"
            dispatcher.look_at_everything()
            await until(13)
            assert len(woken.nodes) == 13
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(work())
