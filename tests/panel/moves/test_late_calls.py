"""Calls to clients that a move would have passed over: a panel was dead meanwhile, or they had been quiet."""

import asyncio
import time
from typing import cast

import pytest

from tests.panel.conftest import one_database
from tests.panel.moves.test_worker import DRAIN, ENDPOINT, Begins, Line, carried_out, drain, everybody, fleet, remove
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.moves import sleepers
from wgfleet.panel.reconcile.moves.worker import MoveWorker
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import operations
from wgfleet.panel.store.tables import Operation
from wgfleet.protocol.messages import Takeover, TakeoverResult

DEAD_S = 3600.0


def was_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the panel start now, after it was dead for longer than any drain window, and than sessions live."""
    monkeypatch.setattr(clock, "now", lambda: time.time() + DEAD_S)
    monkeypatch.setattr(clock, "_ahead", clock.Ahead(clock.steady() - clock.monotonic() + DEAD_S))


@pytest.mark.parametrize("begins", [remove, drain])
@one_database
def test_a_panel_that_was_dead_for_the_whole_drain_window_still_calls(
    world: World, monkeypatch: pytest.MonkeyPatch, begins: Begins
) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    operation = begins(world, config, one)
    while world.step(operation) is not MoveStep.PLACE:
        pass
    was_dead(monkeypatch)
    world.seen(config, one, {peer.public_key: ENDPOINT for peer in made})  # what its agent says at once
    lines = {one.id: Line(), two.id: Line()}
    ended = asyncio.run(carried_out(world, operation, lines, lambda: world.sync_all(config, one, two)))
    assert (ended.state, ended.result["sessions_taken_over"]) == (OperationState.SUCCEEDED, len(made))


@pytest.mark.parametrize("begins", [remove, drain])
@one_database
def test_a_panel_that_was_dead_after_a_takeover_calls_those_who_were_turned_back_once_they_are_dropped(
    world: World, monkeypatch: pytest.MonkeyPatch, begins: Begins
) -> None:
    config, (one, two), made = fleet(world, "one", "two")
    operation = begins(world, config, one)
    while world.step(operation) is not MoveStep.TAKEOVER:
        world.sync(config, two)
    was_dead(monkeypatch)
    keys = {peer.public_key for peer in made}
    there = Line()
    had: list[set[str]] = []

    async def notes(takeover: Takeover) -> TakeoverResult:
        has = world.agents.get((one.id, config.id))
        had.append(set() if has is None else keys & set(has.peers))
        return await everybody(takeover)

    there.answer = notes
    reported = False

    def meanwhile() -> None:
        nonlocal reported
        if not reported:  # they are live where they were turned back to, and the other node has not heard of them
            world.seen(config, one, dict.fromkeys(keys, ENDPOINT))
        reported = True
        world.sync_all(config, one, two)

    asyncio.run(carried_out(world, operation, {one.id: Line(), two.id: there}, meanwhile))
    assert there.called
    assert {peer.public_key for peer in there.called[-1].peers} == keys
    assert had[-1] == set(), "called before the node had dropped them, which turns them back again"


def test_who_was_quiet_for_longer_than_a_session_lives_is_called_too_and_nobody_waits_for_him(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sleepers, "AFTER_S", (0.1,) * 50)  # the other node has its peers before the last look
    config, (one, two), made = fleet(world, "one", "two")
    quiet, forgotten, never = world.peers(config, "quiet", "forgotten", "never")
    world.sync_all(config, one, two)
    world.seen(config, one, {quiet.public_key: ENDPOINT}, in_s=-3600.0)
    world.seen(config, one, {forgotten.public_key: ENDPOINT}, in_s=-2 * 86400.0)
    operation = world.failover(config, one)
    lines = {one.id: Line(connected=False), two.id: Line()}
    called: list[set[str]] = []

    async def until_called() -> Operation:
        worker = MoveWorker(world.store, world.vault, DRAIN, cast("dict[str, AgentConnection]", lines), Outlook())
        has_ended = False
        try:
            async with asyncio.timeout(120):
                while not has_ended or {quiet.public_key} not in called:
                    has_ended = await worker.reconcile(operation.id) is None
                    world.sync(config, two)
                    await asyncio.sleep(0.05)
                    called[:] = [{peer.public_key for peer in each.peers} for each in lines[two.id].called]
        finally:
            await worker.close()
        with world.store.read() as tx:
            return operations.get(tx, operation.id)

    ended = asyncio.run(until_called())
    assert called == [{peer.public_key for peer in made}, {quiet.public_key}]
    assert ended.result["sessions_taken_over"] == len(made)
    assert never.public_key not in set().union(*called)
