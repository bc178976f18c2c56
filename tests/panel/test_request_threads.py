"""Threads of requests: how many work at a time, and that none waits for those that hang."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from anyio.to_thread import current_default_thread_limiter
from starlette.concurrency import run_in_threadpool

from wgfleet.panel import request_threads

WAIT_S = 20.0


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """What those that hang wait for."""
    until = threading.Event()
    yield until
    until.set()


class Workers:
    """Threads that count those that work with them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._now = 0
        self.most = 0
        self.order: list[int] = []

    def work(self, number: int) -> None:
        with self._guard:
            self._now += 1
            self.most = max(self.most, self._now)
            self.order.append(number)
        time.sleep(0.002)
        with self._guard:
            self._now -= 1


def test_few_work_at_a_time_in_the_order_of_asking() -> None:
    workers = Workers()

    async def scenario() -> None:
        request_threads.begin()
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(run_in_threadpool(workers.work, number))

    asyncio.run(scenario())
    assert workers.most == request_threads.AT_ONCE
    for place, number in enumerate(workers.order):
        assert abs(place - number) < request_threads.AT_ONCE


def test_those_that_hang_keep_nobody_out_but_for_a_moment(hang: threading.Event) -> None:
    async def scenario() -> None:
        threads = request_threads.begin()
        looking = asyncio.create_task(threads.keep_room())
        hanging = [asyncio.create_task(run_in_threadpool(hang.wait, WAIT_S)) for _ in range(10)]
        await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.wait_for(run_in_threadpool(int), WAIT_S / 2)
        assert not any(task.done() for task in hanging)
        hang.set()
        await asyncio.gather(*hanging)
        while current_default_thread_limiter().total_tokens != request_threads.AT_ONCE:  # noqa: ASYNC110 - it is looked at
            await asyncio.sleep(0.01)
        looking.cancel()

    asyncio.run(asyncio.wait_for(scenario(), WAIT_S))


def test_who_waits_elsewhere_makes_room_at_once(hang: threading.Event) -> None:
    def wait() -> None:
        with request_threads.elsewhere():
            hang.wait(WAIT_S)

    async def scenario() -> None:
        request_threads.begin()  # nobody looks for those that hang
        hanging = [asyncio.create_task(run_in_threadpool(wait)) for _ in range(10)]
        await asyncio.sleep(0)
        await asyncio.wait_for(run_in_threadpool(int), WAIT_S / 2)
        hang.set()
        await asyncio.gather(*hanging)

    asyncio.run(asyncio.wait_for(scenario(), WAIT_S))


def test_there_are_no_more_than_before_however_many_hang(hang: threading.Event) -> None:
    async def scenario() -> None:
        threads = request_threads.begin()
        looking = asyncio.create_task(threads.keep_room())
        limiter = current_default_thread_limiter()
        hanging = [asyncio.create_task(run_in_threadpool(hang.wait, WAIT_S)) for _ in range(request_threads.MOST + 10)]
        while limiter.statistics().borrowed_tokens < request_threads.MOST:  # noqa: ASYNC110 - it is looked at
            await asyncio.sleep(0.01)
        await asyncio.sleep(3 * request_threads.LOOK_S)
        assert limiter.statistics().borrowed_tokens == request_threads.MOST
        hang.set()
        await asyncio.gather(*hanging)
        looking.cancel()

    asyncio.run(asyncio.wait_for(scenario(), WAIT_S))
