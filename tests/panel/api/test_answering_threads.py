"""Few threads answer at a time, and none of them waits for one that does not compute."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from anyio import to_thread
from argon2 import PasswordHasher

from wgfleet.panel import passwords
from wgfleet.panel.api import answering_threads
from wgfleet.panel.api.answering_threads import AT_WORK, LOOK_S, MOST, download, keep_few


def beside(work: Callable[[], Awaitable[None]]) -> None:
    """Do something while few threads are kept."""

    async def both() -> None:
        keeping = asyncio.create_task(keep_few())
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(20):
                await work()
        finally:
            keeping.cancel()

    asyncio.run(both())


def test_calls_that_compute_take_turns() -> None:
    lock, at_once, most = threading.Lock(), 0, 0

    def compute() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(LOOK_S / 10)
        with lock:
            at_once -= 1

    async def crowd() -> None:
        await asyncio.gather(*(to_thread.run_sync(compute) for _ in range(100)))

    beside(crowd)
    assert most == AT_WORK


def test_nobody_waits_behind_calls_that_wait_themselves() -> None:
    freed = threading.Event()
    after: list[float] = []

    async def crowd() -> None:
        for hung in range(MOST - AT_WORK):
            waiting = [asyncio.create_task(to_thread.run_sync(freed.wait)) for _ in range(1 if hung else AT_WORK)]
            tasks.extend(waiting)
            began = time.monotonic()
            await to_thread.run_sync(int)
            after.append(time.monotonic() - began)
        freed.set()
        await asyncio.gather(*tasks)
        await asyncio.sleep(3 * LOOK_S)
        left.append(to_thread.current_default_thread_limiter().total_tokens)

    tasks: list[asyncio.Task[bool]] = []
    left: list[float] = []
    beside(crowd)
    assert max(after) < 20 * LOOK_S, "a second beside a busy machine; the others hang for as long as they like"
    assert left == [AT_WORK]


def test_those_that_hang_at_once_are_left_aside_as_soon_as_each_is_seen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering_threads, "LOOK_S", 4 * LOOK_S)
    freed = threading.Event()

    async def crowd() -> None:
        hung = [asyncio.create_task(to_thread.run_sync(freed.wait)) for _ in range(3 * AT_WORK)]
        await asyncio.sleep(0)
        began = time.monotonic()
        await to_thread.run_sync(int)
        took.append(time.monotonic() - began)
        freed.set()
        await asyncio.gather(*hung)

    took: list[float] = []
    beside(crowd)
    assert took[0] < 4.5 * 4 * LOOK_S, "three looks, where it was six"


def test_nobody_waits_behind_the_parts_of_downloads() -> None:
    freed = threading.Event()
    made_in: set[str] = set()

    def parts() -> Iterator[bytes]:
        freed.wait()
        made_in.add(threading.current_thread().name)
        yield b"a"
        yield b"b"

    async def fetched() -> bytes:
        return b"".join([part async for part in download(parts())])

    async def crowd() -> None:
        downloads = [asyncio.create_task(fetched()) for _ in range(2 * AT_WORK)]
        await asyncio.sleep(0)
        await to_thread.run_sync(int)
        freed.set()
        assert await asyncio.gather(*downloads) == [b"ab"] * len(downloads)

    beside(crowd)
    assert made_in == {"download_0"}


def test_nobody_waits_for_a_look_behind_those_who_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering_threads, "LOOK_S", 60.0)
    freed = threading.Event()
    monkeypatch.setattr(PasswordHasher, "hash", lambda *_: str(freed.wait()))

    async def crowd() -> None:
        guessers = [asyncio.create_task(to_thread.run_sync(passwords.hashed, "x")) for _ in range(2 * AT_WORK)]
        await asyncio.sleep(0)
        await to_thread.run_sync(int)
        freed.set()
        await asyncio.gather(*guessers)

    beside(crowd)
    assert passwords.present() == 0
