"""A node that sends nothing until it has heard the panel is told at once what it is to have, or that it has that."""

import asyncio

from tests.panel.floating.test_held import Agent, converse, report
from tests.panel.world import World
from wgfleet.protocol.desired import MuteSettings


class Muted(Agent):
    """An agent that counts what it is told."""

    unmuted: tuple[str, ...] = ()

    async def unmute(self, interface: str) -> None:
        self.unmuted = (*self.unmuted, interface)


def witnesses(found: MuteSettings | None) -> tuple[str, ...]:
    return () if found is None else found.witnesses


def test_a_muted_node_that_lacks_nothing_may_send_again(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    speaks, muted = Muted(report(world, config)), Muted(report(world, config, muted="cut off"))
    for agent in (speaks, muted):
        asyncio.run(converse(world, fra1, agent))
    assert (speaks.unmuted, muted.unmuted) == ((), ("wg0",))


def test_nodes_that_can_be_replaced_have_the_others_as_witnesses(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    assert world.agents[fra1.id, config.id].settings.mute is None
    (ams1,) = world.serving(config, "ams1")
    world.sync_all(config, fra1, ams1)
    assert witnesses(world.agents[fra1.id, config.id].settings.mute) == ("192.0.2.2:51820",)
    assert witnesses(world.agents[ams1.id, config.id].settings.mute) == ("192.0.2.1:51820",)
