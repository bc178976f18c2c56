"""Batches of calls to clients that have no node: how many are under way at once, and what becomes of one that fails."""

import asyncio

from tests.panel.moves.test_worker import Hear, Line, carried_out, everybody, fleet
from tests.panel.world import World
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.moves import takeovers
from wgfleet.panel.settings.drain import DrainSettings
from wgfleet.protocol.messages import Takeover, TakeoverResult


def test_clients_without_a_node_are_called_while_those_before_them_are_waited_for(world: World) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    operation = world.failover(config, one)
    lines = {one.id: Line(connected=False), two.id: Line()}

    async def all_called(takeover: Takeover, hear: Hear) -> None:
        assert takeover.settle_s
        hear(TakeoverResult({}, (), more=True))

    everyone = asyncio.Event()

    async def when_all_are(takeover: Takeover) -> TakeoverResult:
        if len(lines[two.id].called) == len(made):
            everyone.set()
        async with asyncio.timeout(60):
            await everyone.wait()
        return await everybody(takeover)

    lines[two.id].early, lines[two.id].answer = all_called, when_all_are
    small = DrainSettings(unreachable_s=0.5, takeover_batch=1)
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync(config, two), small))
    assert ended.result["sessions_taken_over"] == len(made) == takeovers.AT_ONCE
    assert len(lines[two.id].called) == len(made)


def test_an_agent_that_fails_in_one_batch_loses_the_answers_to_no_other(world: World) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    operation = world.failover(config, one)
    lines = {one.id: Line(connected=False), two.id: Line()}

    async def all_called(_takeover: Takeover, hear: Hear) -> None:
        hear(TakeoverResult({}, (), more=True))

    async def fails_second(takeover: Takeover) -> TakeoverResult:
        number = len(lines[two.id].called)
        if number == 2:
            raise TransientError("node two: connection lost")
        if number == 1:
            await asyncio.sleep(0.2)
        return await everybody(takeover)

    lines[two.id].early, lines[two.id].answer = all_called, fails_second
    small = DrainSettings(unreachable_s=0.5, takeover_batch=1)
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync(config, two), small))
    assert ended.result["sessions_taken_over"] == len(made)
    called = [peer.public_key for takeover in lines[two.id].called for peer in takeover.peers]
    assert called.count(called[0]) == 1, "the first answered, though the second failed meanwhile"
