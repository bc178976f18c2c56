"""When the reconcilers' workers run."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.paper_loop import run_on_paper
from wgfleet.panel.errors import PermanentError, TransientError, Unavailable
from wgfleet.panel.reconcile.engine import keyed_runner as module
from wgfleet.panel.reconcile.engine.keyed_runner import Key, Runner

KEY: Key = Key("node", "one")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(module, "LONGEST_DELAY_S", 0.02)
    with capture_logs():
        yield


def test_wakes_are_merged_and_a_key_never_runs_twice_at_once() -> None:
    running, runs, most = 0, 0, 0
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def reconcile(_key: Key) -> None:
        nonlocal running, runs, most
        running += 1
        most = max(most, running)
        runs += 1
        begun.set()
        await go_on.wait()
        running -= 1

    async def scenario() -> None:
        worker = Runner(reconcile)
        for _ in range(10):
            worker.wake(KEY)
        await begun.wait()
        for _ in range(10):
            worker.wake(KEY)
        await asyncio.sleep(0.02)
        go_on.set()
        await asyncio.sleep(0.1)
        await worker.close()

    run_on_paper(scenario())
    assert (most, runs) == (1, 2)


def test_keys_run_side_by_side() -> None:
    met: list[str] = []

    async def scenario() -> None:
        together, both = asyncio.Barrier(2), asyncio.Event()

        async def reconcile(key: Key) -> None:
            await together.wait()
            met.append(key[1])
            if len(met) == 2:
                both.set()

        worker = Runner(reconcile)
        worker.wake(Key("node", "one"))
        worker.wake(Key("node", "two"))
        async with asyncio.timeout(60):
            await both.wait()
        await worker.close()

    run_on_paper(scenario())
    assert sorted(met) == ["one", "two"]


@pytest.mark.parametrize(
    "error", [TransientError("no answer"), Unavailable("locked"), PermanentError("refused"), RuntimeError("a bug")]
)
def test_a_failure_is_tried_again(error: Exception) -> None:
    tries = 0
    done = asyncio.Event()

    async def reconcile(_key: Key) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise error
        done.set()

    async def scenario() -> None:
        worker = Runner(reconcile)
        worker.wake(KEY)
        async with asyncio.timeout(60):
            await done.wait()
        await worker.close()

    run_on_paper(scenario())
    assert tries == 3


def test_a_cycle_that_asks_for_another_one_gets_it() -> None:
    runs = 0
    done = asyncio.Event()

    async def reconcile(_key: Key) -> float | None:
        nonlocal runs
        runs += 1
        if runs == 3:
            done.set()
            return None
        return 0.01

    async def scenario() -> None:
        worker = Runner(reconcile)
        worker.wake(KEY)
        async with asyncio.timeout(60):
            await done.wait()
        await asyncio.sleep(0.05)
        await worker.close()

    run_on_paper(scenario())
    assert runs == 3


def test_an_idle_worker_ends_and_the_next_wake_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.01)
    runs = 0

    async def reconcile(_key: Key) -> None:
        nonlocal runs
        runs += 1

    async def scenario() -> None:
        worker = Runner(reconcile)
        for expected in range(1, 4):
            worker.wake(KEY)
            async with asyncio.timeout(60):
                while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - a worker that ends tells nobody
                    await asyncio.sleep(0.01)
            assert runs == expected
        await worker.close()

    run_on_paper(scenario())


def test_a_wake_in_the_moment_in_which_an_idle_worker_ends_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    runs = asyncio.Queue[Key]()

    async def scenario() -> None:
        worker = Runner(runs.put)
        worker.wake(KEY)
        await runs.get()
        # Both times have passed when the loop looks again: it takes them in their order, within one turn.
        asyncio.get_running_loop().call_later(0.1, worker.wake, KEY)
        time.sleep(0.3)  # noqa: ASYNC251 - the stall that the test is about
        async with asyncio.timeout(60):
            await runs.get()
        await worker.close()

    run_on_paper(scenario())


def test_a_key_that_is_woken_after_the_end_begins_nothing() -> None:
    """A connection that is closed after the workers may wake its node once more; the next core has it by then."""
    done: list[Key] = []

    async def reconcile(key: Key) -> None:
        done.append(key)

    async def scenario() -> None:
        worker = Runner(reconcile)
        worker.wake(KEY)
        await asyncio.sleep(0)
        await worker.close()
        before = len(done)
        worker.wake(KEY)
        worker.wake(Key("node", "two"))
        await asyncio.sleep(0.05)
        assert len(done) == before

    run_on_paper(scenario())
