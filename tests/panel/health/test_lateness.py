"""How late decisions are, as a core measures it itself."""

import asyncio
import time

import msgspec
import pytest

from tests.panel.health.test_monitor import Network, monitor_on
from tests.panel.world import World
from tests.waiting import eventually
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks, came_round
from wgfleet.panel.reconcile.lateness import DecisionClock, Lateness
from wgfleet.panel.reconcile.outlook import CoreReport, Outlook


def test_the_worst_of_a_hundred_is_left_out_and_what_is_older_than_a_minute_forgotten() -> None:
    decisions = DecisionClock()
    decisions.decided(0.0, 9.0)
    for number in range(99):
        decisions.decided(100.0, 100.0 + number / 1000)
    decisions.decided(100.0, 103.0)
    found = decisions.lateness(120.0, {})
    assert (found.decisions_p99_s, found.decisions_max_s) == (0.098, 3.0)
    assert decisions.lateness(500.0, {"telemetry": 2.04}) == Lateness(behind={"telemetry": 2.0})


def test_one_alone_says_nothing_as_the_first_after_a_start_and_two_of_a_few_do() -> None:
    decisions = DecisionClock()
    decisions.decided(0.0, 2.0)
    decisions.decided(3.0, 3.0)
    assert decisions.lateness(5.0, {}).trouble is None
    decisions.decided(3.0, 4.5)
    assert decisions.lateness(5.0, {}).trouble == "whether nodes serve is decided 1.5 s late"


def test_one_that_was_made_before_it_was_due_is_not_late() -> None:
    decisions = DecisionClock()
    decisions.decided(5.0, 4.0)
    assert decisions.lateness(5.0, {}) == Lateness()


def test_a_report_of_an_earlier_version_says_nothing_of_it() -> None:
    assert msgspec.json.decode(b'{"panel":"a:1"}', type=CoreReport).late == Lateness()


def test_a_watch_whose_loop_is_held_up_measures_it_and_the_probes_that_it_left_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    found = world.serving(config, "fra1", "ams1", "par1")
    outlook = Outlook()
    monitor = monitor_on(Network(), world, found, monkeypatch, outlook)

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            await asyncio.sleep(0.5)
            time.sleep(1.0)  # noqa: ASYNC251 - it holds the loop up on purpose
            await asyncio.to_thread(eventually, lambda: outlook.report().late.decisions_max_s > 0.5)
            await asyncio.to_thread(eventually, lambda: outlook.report().late.probes_left_out >= len(found))
        finally:
            await watching_them.stop()

    asyncio.run(watched())


def test_a_task_that_does_not_come_round_is_behind() -> None:
    async def scene() -> None:
        tasks = BackgroundTasks()

        async def once() -> None:
            came_round()
            await asyncio.Event().wait()

        tasks.start("telemetry", once, every_s=0.01)
        tasks.start("link_watch", once, subject="n1", every_s=0.01)
        await asyncio.to_thread(eventually, lambda: tasks.behind_s.get("telemetry", 0.0) > 1)
        assert set(tasks.behind_s) == {"telemetry"}, "of one node it is said elsewhere"
        await tasks.close()

    asyncio.run(scene())
