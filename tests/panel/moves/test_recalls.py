"""Recalls under trouble: several operations one after another, and addresses that have moved on."""

import asyncio
import time
from typing import cast

import pytest

from tests.panel.conftest import one_database
from tests.panel.floating.test_holders import A1, becomes, holder_names, put
from tests.panel.floating.test_sessions import HOME, answer, due, failed_over, live
from tests.panel.moves.test_returning import AT
from tests.panel.moves.test_returning import Line as Answering
from tests.panel.world import LIVE_S, World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.errors import TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.moves.recalls import Recalls
from wgfleet.panel.services.floating import holders
from wgfleet.panel.services.moves import failover, recalls
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.messages import Takeover, TakeoverResult


def assignment_id(world: World, config: Config, node: Node) -> str:
    with world.store.read() as tx:
        row = assignment_rows.get(tx, config.id, node.id)
        assert row is not None
        return row.id


def recalled(world: World, subject_id: str, lines: dict[str, Answering]) -> None:
    connections = cast("dict[str, AgentConnection]", lines)
    asyncio.run(Recalls(world.store, world.vault, Settings().drain, connections).reconcile(subject_id))


def moved_without_its_agent(world: World, config: Config, node: Node, other: Node) -> None:
    """Have a drain of a node end whose agent hears nothing of it, and its peers come home."""
    (operation,) = world.drain(node, window_s=1)
    for _ in range(4):
        world.step(operation)
        world.sync(config, other)
    now = clock.now
    with pytest.MonkeyPatch.context() as later:
        later.setattr(clock, "now", lambda: now() + 3600)
        later.setattr("tests.panel.world.math.inf", 10.0)
        for _ in range(4):
            step = world.step(operation)
    assert step is MoveStep.DONE
    world.sync(config, other)
    world.uncordon(node)


@one_database
def test_what_another_operation_took_over_during_a_recall_is_not_given_back_before_its_clients_are_called(
    world: World,
) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    ann, bob = world.peers(config, "ann", "bob")
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, {ann.public_key: AT})
    moved_without_its_agent(world, config, fra1, ams1)
    world.sync(config, fra1)
    place = assignment_id(world, config, fra1)
    with world.store.read() as tx:
        generation = recalls.applied(tx, place)
        _, calls = recalls.due(tx, world.vault, place, LIVE_S)
    assert [call.peer_id for call in calls] == [ann.id]
    world.seen(config, fra1, {bob.public_key: AT})  # while ann is called, bob is moved too
    moved_without_its_agent(world, config, fra1, ams1)
    world.sync(config, fra1)
    with world.store.write() as tx:
        recalls.record_answers(tx, place, {ams1.id: {ann.id: AT}}, generation)
    lines = {fra1.id: Answering(), ams1.id: Answering()}
    recalled(world, place, lines)
    assert bob.public_key in lines[ams1.id].called
    world.sync(config, fra1)
    assert {ann.public_key, bob.public_key} <= world.users(config, fra1)


@one_database
def test_a_recall_is_not_made_from_an_address_that_has_moved_on(world: World) -> None:
    """The agent would refuse it, and with it the calls of all others."""
    config = world.config()
    fra1, ams1, par1 = world.serving(config, "fra1", "ams1", "par1")
    put(world, config, A1)
    assert holder_names(world, config) == {A1: "fra1"}
    (anna,) = live(world, config, fra1, ams1, par1)
    operation = failed_over(world, config, fra1)
    world.sync_all(config, ams1, par1)
    (call,) = due(world, operation)
    assert (call.node_id, call.source) == (ams1.id, A1)
    answer(world, operation, call, answered=True)
    with world.store.write() as tx:
        failover.close(tx, operation.id)
        holders.give(tx, config.id, {A1: par1.id})
    world.sync_all(config, ams1, par1)
    becomes(world, config, fra1, Health.RECOVERING)
    with world.store.write() as tx:
        place = floating_rows.carriers(tx, config.id)[0][0]
        assert place.node_id == fra1.id
        _, calls = recalls.due(tx, world.vault, place.id, LIVE_S)
        assert [(each.node_id, each.source, each.endpoint) for each in calls] == [(par1.id, A1, HOME)]
        recalls.record_answers(tx, place.id, {par1.id: {anna.id: HOME}}, 0, {anna.id: A1})
        again = recalls.due(tx, world.vault, place.id, LIVE_S)[1]
    assert [(each.node_id, each.source) for each in again] == [(par1.id, A1)]


class Starting(Answering):
    """A line to an agent that cannot be asked for a while, since it starts again."""

    def __init__(self, for_s: float) -> None:
        super().__init__()
        self._until = time.monotonic() + for_s

    async def takeover(self, interface: InterfaceName, takeover: Takeover) -> TakeoverResult:
        if time.monotonic() < self._until:
            raise TransientError("it does not answer")
        return await super().takeover(interface, takeover)


@one_database
def test_an_agent_that_starts_again_is_asked_once_more_to_call(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    (ann,) = world.peers(config, "ann")
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, {ann.public_key: AT})
    moved_without_its_agent(world, config, fra1, ams1)
    world.sync(config, fra1)
    lines: dict[str, Answering] = {fra1.id: Answering(), ams1.id: Starting(for_s=1.0)}
    recalled(world, assignment_id(world, config, fra1), lines)
    assert lines[ams1.id].called == [ann.public_key]
