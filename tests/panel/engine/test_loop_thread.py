"""A loop in a thread of its own: how it ends, how it is cancelled, and how it asks the loop that it came from."""

import asyncio
import threading
import time

import pytest

from wgfleet.panel.reconcile.engine.loop_thread import calls_into_this_loop, in_loop_thread


def test_it_goes_on_while_the_first_loop_is_busy_and_asks_it_where_it_must() -> None:
    async def whose() -> str:
        return threading.current_thread().name

    async def scene() -> tuple[int, str, str]:
        call, rounds = calls_into_this_loop(), [0]

        async def work() -> tuple[str, str]:
            while rounds[0] < 20:
                await asyncio.sleep(0.001)
                rounds[0] += 1
            return await whose(), await call(whose())

        task = asyncio.create_task(in_loop_thread("apart", work))
        await asyncio.sleep(0)
        until = time.monotonic() + 60
        while rounds[0] < 20 and time.monotonic() < until:
            time.sleep(0.001)  # noqa: ASYNC251 - as above
        done = rounds[0]
        return done, *await task

    done, apart, home = asyncio.run(scene())
    assert done == 20
    assert apart == "apart"
    assert home != apart


def test_what_it_raises_is_raised() -> None:
    async def work() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_loop_thread("apart", work))


def test_what_is_raised_before_it_begins_is_raised_too() -> None:
    """Or its caller would wait for ever, and nobody would begin the work again."""

    async def work() -> None:
        raise AssertionError("not begun")

    def begin() -> None:
        raise ZeroDivisionError("a bug")

    async def scene() -> None:
        async with asyncio.timeout(10):
            await in_loop_thread("apart", work, begin)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(scene())


def test_cancelling_it_waits_for_its_end() -> None:
    ended: list[str] = []
    begun = threading.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)
            ended.append("ended")

    async def scene() -> None:
        task = asyncio.create_task(in_loop_thread("apart", work))
        assert await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["ended"]

    asyncio.run(scene())
