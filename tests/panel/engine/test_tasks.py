"""Background tasks: what dies is restarted, counted and told of."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.waiting import eventually
from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile.engine import tasks as engine_tasks
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks, Failing, came_round, keep_looking


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(eventually, condition)


def with_tasks(test: Callable[[BackgroundTasks], Awaitable[None]]) -> None:
    async def run() -> None:
        tasks = BackgroundTasks()
        try:
            await test(tasks)
        finally:
            await tasks.close()

    asyncio.run(run())


def test_a_task_that_dies_is_logged_counted_and_restarted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_tasks, "FIRST_DELAY_S", 2.0)
    starts = 0

    async def work() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise ZeroDivisionError("a bug")
        await asyncio.Event().wait()

    async def test(tasks: BackgroundTasks) -> None:
        tasks.start("loop", work)
        assert tasks.deaths == {"loop": 0}, "the metric is there before anything dies"
        await until(lambda: tasks.deaths["loop"] == 1)
        assert tasks.failing == [Failing("loop", "", running=False, failures=1)]
        await until(lambda: starts == 2)
        assert tasks.failing == []

    with_tasks(test)
    said = capsys.readouterr().out
    assert "task.died" in said
    assert "ZeroDivisionError" in said
    assert "Traceback" in said


def test_a_task_that_keeps_failing_is_told_of_also_while_it_runs_and_forgiven_once_it_is_stable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_tasks, "FIRST_DELAY_S", 0.01)
    starts = 0

    async def work() -> None:
        nonlocal starts
        starts += 1
        if starts <= 3:
            raise RuntimeError("again")
        await asyncio.Event().wait()

    async def test(tasks: BackgroundTasks) -> None:
        tasks.start("loop", work, subject="n1")
        await until(lambda: starts == 4)
        assert tasks.failing == [Failing("loop", "n1", running=True, failures=3)]
        now = clock.monotonic()
        monkeypatch.setattr(clock, "monotonic", lambda: now + engine_tasks.STABLE_S)
        assert tasks.failing == []

    with_tasks(test)


@pytest.mark.parametrize("ending", ["return", "cancelled"])
def test_a_loop_that_ends_by_itself_is_restarted_too(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(engine_tasks, "FIRST_DELAY_S", 0.01)
    starts = 0

    async def work() -> None:
        nonlocal starts
        starts += 1
        if ending == "cancelled":
            raise asyncio.CancelledError

    async def test(tasks: BackgroundTasks) -> None:
        tasks.start("loop", work)
        await until(lambda: starts >= 2)
        assert tasks.deaths["loop"] >= 1

    with_tasks(test)


def test_the_pause_grows_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(delay_s: float) -> None:
        pauses.append(delay_s)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def work() -> None:
        raise RuntimeError("again")

    async def test(tasks: BackgroundTasks) -> None:
        tasks.start("loop", work, longest_delay_s=2.0)
        while len(pauses) < 20:
            await real(0)

    with_tasks(test)
    assert pauses[0] <= 0.25
    assert all(1.0 <= pause <= 2.0 for pause in pauses[5:])


def test_close_stops_all_and_a_stopped_task_is_not_told_of() -> None:
    ended: list[str] = []

    def work(name: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        return run

    async def dead() -> None:
        raise RuntimeError("a bug")

    async def run() -> None:
        tasks = BackgroundTasks()
        one = tasks.start("one", work("one"))
        tasks.start("two", work("two"))
        tasks.start("dead", dead)
        await until(lambda: tasks.deaths["dead"] > 0)
        await one.stop()
        await one.stop()
        assert ended == ["one"]
        await tasks.close()
        assert ended == ["one", "two"]
        assert tasks.failing == []
        assert len(asyncio.all_tasks()) == 1, "that of this test"

    asyncio.run(run())


def test_a_loop_that_does_not_come_round_is_failing_though_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)

    async def run() -> None:
        nonlocal now
        tasks, again = BackgroundTasks(), asyncio.Event()

        async def work() -> None:
            while True:
                came_round()
                await again.wait()
                again.clear()

        tasks.start("resync", work, every_s=10.0)
        await asyncio.sleep(0)
        now += 30
        assert tasks.failing == []
        now += 10
        assert tasks.failing == [Failing("resync", "", running=True, failures=0, late_s=40.0)]
        again.set()
        await asyncio.sleep(0.01)
        assert tasks.failing == []
        await tasks.close()

    asyncio.run(run())


def test_a_loop_that_only_fails_is_late_where_done_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    full = True

    async def write() -> None:
        if full:
            raise Unavailable("the disk is full")

    async def run() -> None:
        nonlocal now, full
        tasks = BackgroundTasks()
        tasks.start("telemetry", lambda: keep_looking(write, 0.001, "kept", counts_done=True), every_s=1.0)
        tasks.start("others", lambda: keep_looking(write, 0.001, "kept"), every_s=1.0)
        await asyncio.sleep(0.02)
        now += 30
        await asyncio.sleep(0.02)
        assert tasks.behind_s == {"telemetry": 29.0}
        full = False
        await asyncio.sleep(0.02)
        assert tasks.behind_s == {}
        await tasks.close()

    asyncio.run(run())
