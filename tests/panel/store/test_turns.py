"""The writer's turn of SQLite: fair among processes, and no longer than a process lives."""

import fcntl
import multiprocessing
import os
import signal
import threading
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from tests.waiting import eventually
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.store.turns import WriterTurns, go_first

CONTEXT = multiprocessing.get_context("fork")


def without_a_pause(database: Path, begun: Event, stop: Event) -> None:
    turns = WriterTurns(database)
    while not stop.is_set():
        assert turns.acquire(60)
        begun.set()
        turns.release()


def threads_without_a_pause(database: Path, begun: Event, stop: Event) -> None:
    turns = WriterTurns(database)

    def work() -> None:
        while not stop.is_set():
            assert turns.acquire(60)
            begun.set()
            turns.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def keep(database: Path, begun: Event) -> None:
    WriterTurns(database).acquire(60)
    begun.set()
    signal.pause()


def is_taken(database: Path, place: str) -> bool:
    """Tell whether somebody waits for the turn at a place."""
    try:
        with database.with_name(f"{database.name}-{place}").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def test_a_process_that_writes_without_a_pause_is_passed_at_each_turn(tmp_path: Path) -> None:
    database = tmp_path / "panel.sqlite"
    turns, begun, stop = WriterTurns(database), CONTEXT.Event(), CONTEXT.Event()
    other = CONTEXT.Process(target=without_a_pause, args=(database, begun, stop))
    other.start()
    try:
        assert begun.wait(60)
        for _ in range(200):
            assert turns.acquire(60)
            turns.release()
    finally:
        stop.set()
        other.join(60)
    assert other.exitcode == 0


def test_a_turn_ends_with_its_process(tmp_path: Path) -> None:
    database = tmp_path / "panel.sqlite"
    begun = CONTEXT.Event()
    other = CONTEXT.Process(target=keep, args=(database, begun))
    other.start()
    assert begun.wait(60)
    turns = WriterTurns(database)
    assert not turns.acquire(0.05)
    assert other.pid
    os.kill(other.pid, signal.SIGKILL)
    other.join(60)
    assert turns.acquire(60)
    turns.release()


def test_threads_of_a_process_take_turns_too(tmp_path: Path) -> None:
    turns = WriterTurns(tmp_path / "panel.sqlite")
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            assert turns.acquire(60)
            inside += 1
            most = max(most, inside)
            inside -= 1
            turns.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    turns.close()
    assert turns.acquire(1), "it opens its files again"
    turns.release()


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        WriterTurns(tmp_path / "nowhere" / "panel.sqlite").acquire(1)


def test_a_thread_that_goes_first_passes_those_of_its_process_that_wait(tmp_path: Path) -> None:
    """One of them has the place of the next among processes, and gives it up."""
    database = tmp_path / "panel.sqlite"
    begun, order = CONTEXT.Event(), list[str]()
    other = CONTEXT.Process(target=keep, args=(database, begun))
    other.start()
    assert begun.wait(60)
    turns = WriterTurns(database)

    def work(name: str) -> None:
        if name == "first":
            go_first()
        assert turns.acquire(60)
        order.append(name)
        turns.release()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "other", "first")]
    for thread in threads[:2]:
        thread.start()
    eventually(lambda: is_taken(database, "next"))
    threads[2].start()
    eventually(lambda: is_taken(database, "first"))
    assert other.pid
    os.kill(other.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    other.join(60)
    assert order[0] == "first"
    assert set(order[1:]) == {"one", "other"}


def test_nobody_of_a_busy_process_passes_a_thread_of_another_that_goes_first(tmp_path: Path) -> None:
    database = tmp_path / "panel.sqlite"
    turns, begun, stop = WriterTurns(database), CONTEXT.Event(), CONTEXT.Event()
    other = CONTEXT.Process(target=threads_without_a_pause, args=(database, begun, stop))
    other.start()
    failed: list[int] = []

    def work() -> None:
        go_first()
        for number in range(200):
            if not turns.acquire(60):
                failed.append(number)
                return
            turns.release()

    try:
        assert begun.wait(60)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        stop.set()
        other.join(60)
    assert not failed
    assert other.exitcode == 0


def test_who_gives_up_waiting_is_not_handed_the_turn(tmp_path: Path) -> None:
    turns = WriterTurns(tmp_path / "panel.sqlite")
    assert turns.acquire(60)
    given_up: list[bool] = []
    thread = threading.Thread(target=lambda: given_up.append(turns.acquire(0.01)))
    thread.start()
    thread.join()
    assert given_up == [False]
    turns.release()
    assert turns.acquire(1)
    turns.release()
