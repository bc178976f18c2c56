"""A node that was dead when it was removed, and comes back: its interface goes, and whom it turned is called."""

import asyncio
import contextlib
from typing import Any, cast

import pytest

from tests.panel.conftest import one_database
from tests.panel.moves.test_owed_drops import fenced
from tests.panel.moves.test_recalls import recalled
from tests.panel.moves.test_returning import AT, Line
from tests.panel.world import ACTOR, World
from wgfleet.panel import clock
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.reconcile.agents.connections import Connections
from wgfleet.panel.reconcile.dispatcher import Dispatcher
from wgfleet.panel.reconcile.engine.keyed_runner import Key, Runner
from wgfleet.panel.reconcile.moves import recalls as reconciling
from wgfleet.panel.services.fleet import node_agents, nodes
from wgfleet.panel.services.moves import recalls
from wgfleet.panel.store import owed_recalls
from wgfleet.panel.store.tables import Config, Node
from wgfleet.panel.store.wakes import Topic


def removed_while_dead(world: World, *, returns_early: bool) -> tuple[Config, Node, Node, str]:
    """A node goes down while it is removed; another takes its client over; then its interface is deleted."""
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    (ann,) = world.peers(config, "ann")
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, {ann.public_key: AT})
    operation = world.remove(config, fra1, force=True, window_s=300)
    world.step(operation)
    world.step(operation)
    world.judged(config, fra1, Health.DOWN)
    for _ in range(6):
        world.sync(config, ams1)
        step = world.step(operation)
        if step is MoveStep.RETIRE:
            break
    assert step is MoveStep.RETIRE
    if not returns_early:
        now = clock.now
        with pytest.MonkeyPatch.context() as later:
            later.setattr(clock, "now", lambda: now() + 3600)
            for _ in range(4):
                step = world.step(operation)
        assert step is MoveStep.DONE
    world.wakes.clear()
    return config, fra1, ams1, ann.public_key


def woken_by_resync(world: World) -> list[Key]:
    """Return what a panel that starts looks at."""
    found: list[Key] = []

    class Looks:
        def wake(self, key: Key) -> None:
            found.append(key)

    class Names:
        def begin_lacking(self) -> None:
            """Nothing is published."""

    async def run() -> None:
        looks, nobody = cast("Runner", Looks()), cast("Connections", {})
        dispatcher = Dispatcher(world.store, looks, nobody, cast("Any", Names()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await dispatcher.resync()

    asyncio.run(run())
    return found


@pytest.mark.parametrize("returns_early", [True, False])
@one_database
def test_clients_of_a_node_that_returns_after_its_removal_are_called_once_its_interface_is_deleted(
    world: World, *, returns_early: bool
) -> None:
    """What it sent until then turned them to it, and there is nothing left that they could shake hands with."""
    config, fra1, ams1, ann = removed_while_dead(world, returns_early=returns_early)
    world.sync(config, fra1)
    (subject_id,) = fenced(world)
    lines = {fra1.id: Line(), ams1.id: Line()}
    recalled(world, subject_id, lines)
    assert (lines[fra1.id].called, lines[ams1.id].called) == ([], [ann])


@one_database
def test_a_panel_that_dies_before_it_has_called_them_does_so_when_it_is_back(world: World) -> None:
    config, fra1, ams1, ann = removed_while_dead(world, returns_early=False)
    world.sync(config, fra1)
    (subject_id,) = fenced(world)
    world.wakes.clear()
    keys = woken_by_resync(world)
    assert Key(Topic.FENCED, subject_id) in keys
    lines = {ams1.id: Line()}
    recalled(world, subject_id, lines)
    assert lines[ams1.id].called == [ann]
    assert Key(Topic.FENCED, subject_id) not in woken_by_resync(world)


@one_database
def test_a_node_that_cannot_be_asked_is_asked_again_for_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config, fra1, ams1, ann = removed_while_dead(world, returns_early=False)
    world.sync(config, fra1)
    (subject_id,) = fenced(world)
    monkeypatch.setattr(reconciling, "WAITS_S", (0.0,))
    recalled(world, subject_id, {})  # nobody is connected
    assert Key(Topic.FENCED, subject_id) in woken_by_resync(world)
    lines = {ams1.id: Line()}
    recalled(world, subject_id, lines)
    assert lines[ams1.id].called == [ann]
    assert Key(Topic.FENCED, subject_id) not in woken_by_resync(world)
    with world.store.write() as tx:
        owed_recalls.owe(tx, subject_id, clock.now() - recalls.ASKED_FOR_S)
    recalled(world, subject_id, {})
    assert Key(Topic.FENCED, subject_id) not in woken_by_resync(world)


@one_database
def test_clients_of_a_node_that_was_deleted_are_called_when_it_has_heard_of_that(world: World) -> None:
    config, fra1, ams1, ann = removed_while_dead(world, returns_early=False)
    with world.store.write() as tx:
        node = nodes.get(tx, fra1.id)
        node_agents.enrolled(tx, node, agent_port=51900, issued=Issued(None, "key", clock.now() + 1000))
    with world.store.write() as tx:
        nodes.delete(tx, ACTOR, nodes.get(tx, fra1.id), force=True)
    world.wakes.clear()
    with world.store.write() as tx:
        nodes.dismissed(tx, fra1.id, deleted={"wg0": config.id})
    (subject_id,) = fenced(world)
    lines = {ams1.id: Line()}
    recalled(world, subject_id, lines)
    assert lines[ams1.id].called == [ann]


@one_database
def test_nobody_is_called_again_after_a_removal_that_the_node_heard_of(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    (ann,) = world.peers(config, "ann")
    world.sync_all(config, fra1, ams1)
    world.seen(config, fra1, {ann.public_key: AT})
    operation = world.remove(config, fra1, window_s=300)
    for _ in range(8):
        world.sync_all(config, fra1, ams1)
        if world.step(operation) is MoveStep.DONE:
            break
    assert not fenced(world)
