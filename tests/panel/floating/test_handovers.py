"""An address that its former holder has not given up: who waits for what, and what ends the wait."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from tests.panel.conftest import one_database
from tests.panel.floating.test_holders import A1, LAPSED_S, becomes, carried, look, put
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.floating import FloatingReconciler
from wgfleet.panel.services.fleet import node_agents
from wgfleet.panel.services.floating import holders
from wgfleet.panel.services.moves import address_move, removal
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Node, Operation
from wgfleet.protocol import features


@pytest.mark.parametrize(("silent", "later_s"), [(True, 0.0), (False, 1.5)])
@one_database
def test_a_dead_node_that_does_not_confirm_keeps_the_address_while_its_kernel_has_it(
    world: World, silent: bool, later_s: float
) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    becomes(world, config, fra1, Health.DOWN)
    assert not look(world, config, silent=(fra1,) if silent else (), later_s=later_s)
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["fra1"]}
    world.lapse(config, fra1)
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}


@one_database
def test_an_address_of_a_node_that_dies_in_its_removal_moves_as_in_a_failover(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    world.remove(config, fra1, force=True)
    becomes(world, config, fra1, Health.DOWN, silent=True)
    world.sync(config, ams1)
    assert carried(world, config, ams1) == {A1: ["ams1"]}


@one_database
def test_what_a_link_says_of_a_dead_node_counts_only_as_long_as_its_kernel_may_have_the_address(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    becomes(world, config, fra1, Health.DOWN)
    look(world, config, silent=(fra1,))
    world.sync(config, ams1)
    assert carried(world, config, ams1) == {}  # a router answers for all addresses there, for example
    look(world, config, silent=(fra1,), later_s=LAPSED_S)
    world.sync(config, ams1)
    assert carried(world, config, ams1) == {A1: ["ams1"]}


def test_a_node_that_serves_is_waited_for_while_its_kernel_has_the_address(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    with world.store.write() as tx:
        holders.empty(tx, config.id, fra1.id)
    look(world, config, silent=(fra1,), later_s=3600)
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["fra1"]}
    world.sync_all(config, fra1, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}


@one_database
def test_a_removed_node_that_is_not_reached_keeps_the_address_while_its_kernel_has_it(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    operation = world.remove(config, fra1, window_s=0)
    for _ in range(6):
        world.step(operation)
    world.sync(config, ams1)
    assert carried(world, config, ams1) == {}
    with world.store.write() as tx:
        removal.close(tx, operation.id)
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["fra1"]}
    look(world, config, silent=(fra1,), later_s=3600)
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["fra1"]}
    world.lapse(config, fra1)
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}


def test_setting_the_clock_ends_no_handover_that_waits_for_its_node(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    becomes(world, config, fra1, Health.DOWN)
    speaks = SimpleNamespace(silent=False, heard_at=clock.monotonic())
    connections = cast("dict[str, AgentConnection]", {fra1.id: speaks, ams1.id: speaks})
    reconciler = FloatingReconciler(world.store, world.vault, connections)
    real, monotonic = clock.now(), float(round(clock.monotonic()))  # whose sums have no rounding
    monkeypatch.setattr(clock, "monotonic", lambda: monotonic)
    for ahead_s in (0, 3600, -3600):
        monkeypatch.setattr(clock, "now", lambda ahead_s=ahead_s: real + ahead_s)
        assert asyncio.run(reconciler.reconcile(config.id)) is not None
    world.sync(config, ams1)
    assert carried(world, config, ams1) == {}
    monkeypatch.setattr(clock, "monotonic", lambda: monotonic + holders.ANSWER_S)
    assert asyncio.run(reconciler.reconcile(config.id)) is not None
    world.lapse(config, fra1)
    world.sync(config, ams1)
    assert asyncio.run(reconciler.reconcile(config.id)) is None
    assert carried(world, config, ams1) == {A1: ["ams1"]}


def heard_before(world: World, node: Node, known: frozenset[features.Feature]) -> None:
    """Have an earlier life of the panel have heard what a node's agent knows."""
    with world.store.write() as tx:
        node_agents.reported(tx, node.id, connected=True, known=known)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("known", [features.ALL, features.NONE])
@one_database
def test_what_a_kernel_has_taken_off_a_node_in_use_goes_to_another(
    world: World, known: frozenset[features.Feature], restarted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an agent that is dead or hangs; one of 0.1.0 has it for ever. A panel that was `restarted` never heard it."""
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    now = float(round(clock.monotonic()))  # whose sums have no rounding
    heard_before(world, fra1, known)
    speaks = SimpleNamespace(silent=False, heard_at=now + 3600)
    heard = {ams1.id: speaks} if restarted else {fra1.id: SimpleNamespace(silent=True, heard_at=now), ams1.id: speaks}
    connections = cast("dict[str, AgentConnection]", heard)
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    reconciler = FloatingReconciler(world.store, world.vault, connections)

    def look_after(seconds: float) -> tuple[float | None, Operation | None]:
        monkeypatch.setattr(clock, "monotonic", lambda: now + seconds)
        wait_s = asyncio.run(reconciler.reconcile(config.id))
        with world.store.read() as tx:
            return wait_s, operation_rows.newest(tx, OperationKind.MOVE_ADDRESS, A1)

    wait_s, operation = look_after(LAPSED_S - 0.1)
    assert operation is None
    assert (wait_s is None) is (known == features.NONE)
    world.lapse(config, fra1)
    _, operation = look_after(LAPSED_S)
    if known == features.NONE:
        assert operation is None
        return
    assert operation is not None
    with world.store.write() as tx:
        address_move.place(tx, operation.id, live_within_s=180.0)
    look_after(LAPSED_S + 0.5)  # it has had its time already
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}


@pytest.mark.parametrize("cut_off", [False, True], ids=["dead", "removed"])
@one_database
def test_an_agent_that_does_not_ask_gets_an_address_when_the_former_kernel_has_it_no_more(
    world: World, cut_off: bool
) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    heard_before(world, fra1, features.ALL)
    heard_before(world, ams1, features.NONE)
    world.blind.add(ams1.id)
    put(world, config, A1)
    world.sync_all(config, fra1, ams1)
    if cut_off:
        operation = world.remove(config, fra1, window_s=0)
        for _ in range(6):
            world.step(operation)
        with world.store.write() as tx:
            removal.close(tx, operation.id)
    else:
        becomes(world, config, fra1, Health.DOWN, hung=True)
    for later_s in (0.0, holders.ANSWER_S, LAPSED_S - 0.1):
        look(world, config, silent=(fra1,), later_s=later_s)
        world.sync(config, ams1)
        assert carried(world, config, fra1, ams1) == {A1: ["fra1"]}
    world.lapse(config, fra1)
    look(world, config, silent=(fra1,), later_s=LAPSED_S)
    world.sync(config, ams1)
    assert carried(world, config, fra1, ams1) == {A1: ["ams1"]}


@one_database
def test_what_a_dead_node_had_goes_to_an_agent_that_asks_before_one_that_does_not(world: World) -> None:
    config = world.config()
    fra1, ams1, par1 = world.serving(config, "fra1", "ams1", "par1")
    for node, known in ((fra1, features.ALL), (ams1, features.NONE), (par1, features.ALL)):
        heard_before(world, node, known)
    put(world, config, A1)
    world.sync_all(config, fra1, ams1, par1)
    becomes(world, config, fra1, Health.DOWN, silent=True)
    world.sync_all(config, ams1, par1)
    assert carried(world, config, ams1, par1) == {A1: ["par1"]}
