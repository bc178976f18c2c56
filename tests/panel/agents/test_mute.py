"""A node that sends nothing until it has heard the panel is told at once what it is to have, or that it has that."""

import asyncio
from collections.abc import Callable
from typing import cast

from tests.panel.authority import keep
from tests.panel.floating.test_held import STATUS, Agent, converse, report
from tests.panel.world import World
from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.protocol.desired import MuteSettings
from wgfleet.protocol.messages import Change, InterfaceReport, Refusal, Snapshot, WatchMessage


class Muted(Agent):
    """An agent that counts what it is told."""

    unmuted: tuple[str, ...] = ()

    async def unmute(self, interface: str) -> None:
        self.unmuted = (*self.unmuted, interface)


class Hung(Muted):
    """An agent that refuses while its WireGuard hangs; it works again once the panel was refused."""

    def __init__(self, hangs: InterfaceReport, works: InterfaceReport) -> None:
        super().__init__(hangs)
        self._works = works
        self._refused = asyncio.Event()

    async def watch(self, hear: Callable[[WatchMessage], None]) -> None:
        hear(Snapshot(STATUS, (self._report,)))
        await self._refused.wait()
        hear(Change(0.0, (self._works,)))
        await asyncio.Event().wait()

    async def unmute(self, interface: str) -> None:
        if self._refused.is_set():
            await super().unmute(interface)
            return
        self._refused.set()
        raise AgentRefused("it hangs", Refusal("late", 409, "it hangs", "late"))


def witnesses(found: MuteSettings | None) -> tuple[str, ...]:
    return () if found is None else found.witnesses


def test_a_muted_node_that_lacks_nothing_may_send_again(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    speaks, muted = Muted(report(world, config)), Muted(report(world, config, muted="cut off"))
    for agent in (speaks, muted):
        asyncio.run(converse(world, fra1, agent))
    assert (speaks.unmuted, muted.unmuted) == ((), ("wg0",))


def test_a_node_that_hung_may_send_again_as_soon_as_it_says_that_it_works(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    hung = Hung(report(world, config, muted="hangs"), report(world, config, muted="works again"))

    async def two_cycles() -> None:
        heard = asyncio.Event()
        connection = AgentConnection(fra1.id, cast("AgentClient", hung), world.store, heard.set)
        pusher = Pusher(world.store, world.vault, keep(world.store, world.vault), 90)
        connection.start(BackgroundTasks())
        try:
            for expected in ("unmuting wg0: it hangs", "wg0 may send again"):
                await heard.wait()
                heard.clear()
                assert (await pusher.cycle(connection)).summary == expected
        finally:
            await connection.close()

    asyncio.run(two_cycles())
    assert hung.unmuted == ("wg0",)


def test_nodes_that_can_be_replaced_have_the_others_as_witnesses(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    assert world.agents[fra1.id, config.id].settings.mute is None
    (ams1,) = world.serving(config, "ams1")
    world.sync_all(config, fra1, ams1)
    assert witnesses(world.agents[fra1.id, config.id].settings.mute) == ("192.0.2.2:51820",)
    assert witnesses(world.agents[ams1.id, config.id].settings.mute) == ("192.0.2.1:51820",)
