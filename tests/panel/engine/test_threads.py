"""Threads of a core: none of a kind of work waits for those of another, and whose turn comes first."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.panel.store.test_turns import is_taken
from tests.waiting import eventually
from wgfleet.panel.reconcile.engine import threads
from wgfleet.panel.reconcile.engine.threads import Work, always, come_first, doing, in_thread
from wgfleet.panel.store import Store
from wgfleet.panel.store.turns import WriterTurns

OTHERS = [(held, asked) for held in Work for asked in Work if held is not asked]


@pytest.mark.parametrize(("held", "asked"), OTHERS)
def test_work_waits_for_no_thread_of_another_kind(held: Work, asked: Work) -> None:
    async def scene() -> str:
        go_on = threading.Event()

        async def hang() -> None:
            await in_thread(go_on.wait)

        with doing(held):
            stuck = [asyncio.create_task(hang()) for _ in range(20)]
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(30):
                with doing(asked):
                    return await in_thread(lambda: threading.current_thread().name)
        finally:
            go_on.set()
            await asyncio.gather(*stuck)

    assert asyncio.run(scene()).startswith(asked.value)


def test_what_is_begun_within_a_kind_of_work_is_of_it_and_nothing_after_it() -> None:
    async def name() -> str:
        return await in_thread(lambda: threading.current_thread().name)

    async def scene() -> list[str]:
        with doing(Work.URGENT):
            begun = asyncio.create_task(name())
        return [await name(), await begun, await always(Work.TELEMETRY, name)(), await name()]

    ordinary, urgent, telemetry, after = asyncio.run(scene())
    assert ordinary.startswith(Work.ORDINARY.value)
    assert urgent.startswith(Work.URGENT.value)
    assert telemetry.startswith(Work.TELEMETRY.value)
    assert after.startswith(Work.ORDINARY.value)


@pytest.fixture
def nothing_urgent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have telemetry wait for what a test does, for however long, and not for what others did in times on paper."""
    monkeypatch.setattr(threads, "_PATIENCE_S", 600.0)
    monkeypatch.setattr(threads, "_under_way", set())
    monkeypatch.setattr(threads, "_urgent_until", 0.0)


@pytest.mark.usefixtures("nothing_urgent")
def test_what_was_given_up_before_it_began_keeps_telemetry_from_nothing() -> None:
    """It waited for it each time, for as long as the panel ran."""
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        begun.release()
        go_on.wait()

    async def scene() -> None:
        with doing(Work.URGENT):
            running = [asyncio.create_task(in_thread(hang)) for _ in range(4)]
            await asyncio.to_thread(lambda: [begun.acquire() for _ in running])
            queued = asyncio.create_task(in_thread(hang))
        await asyncio.sleep(0)
        queued.cancel()
        go_on.set()
        await asyncio.gather(*running, queued, return_exceptions=True)
        with doing(Work.TELEMETRY):
            await in_thread(lambda: None)

    asyncio.run(asyncio.wait_for(scene(), 30))


@pytest.mark.usefixtures("nothing_urgent")
def test_telemetry_begins_when_what_clients_wait_for_has_ended() -> None:
    order: list[Work] = []
    go_on = threading.Event()

    def hang() -> None:
        go_on.wait()
        order.append(Work.URGENT)

    async def scene() -> None:
        with doing(Work.URGENT):
            urgent = asyncio.create_task(in_thread(hang))
        await asyncio.sleep(0)
        with doing(Work.TELEMETRY):
            waits = asyncio.create_task(in_thread(order.append, Work.TELEMETRY))
        await asyncio.sleep(0.1)
        go_on.set()
        await asyncio.gather(urgent, waits)

    asyncio.run(scene())
    assert order == [Work.URGENT, Work.TELEMETRY]


@pytest.mark.parametrize("refused", [False, True])
def test_what_goes_first_comes_before_other_programs_where_the_system_allows_it(
    monkeypatch: pytest.MonkeyPatch, *, refused: bool
) -> None:
    asked: list[tuple[int, int]] = []

    def setpriority(which: int, thread: int, niceness: int) -> None:
        assert which == os.PRIO_PROCESS
        asked.append((thread, niceness))
        if refused:
            raise PermissionError

    monkeypatch.setattr(os, "setpriority", setpriority)
    with ThreadPoolExecutor(1, initializer=come_first) as threads:
        thread = threads.submit(threading.get_native_id).result()
    assert asked == [(thread, os.nice(0) - 10)]


def test_urgent_work_writes_before_all_that_wait_for_sqlite(tmp_path: Path) -> None:
    """PostgreSQL has no turns: there who writes other rows waits for nobody."""
    file, order = tmp_path / "panel.sqlite", list[str]()
    store, somebody = Store(f"sqlite:///{file}"), WriterTurns(file)

    def write(name: str) -> None:
        with store.write():
            order.append(name)

    async def scene() -> None:
        assert somebody.acquire(60)
        waiting = []
        for work, place in ((Work.TELEMETRY, "next"), (Work.ORDINARY, "next"), (Work.URGENT, "first")):
            with doing(work):
                waiting.append(asyncio.create_task(in_thread(write, work.value)))
            await asyncio.to_thread(eventually, lambda place=place: is_taken(file, place))
        somebody.release()
        await asyncio.gather(*waiting)

    with closing(store):
        asyncio.run(scene())
    assert order[0] == Work.URGENT.value
    assert set(order[1:]) == {Work.TELEMETRY.value, Work.ORDINARY.value}
