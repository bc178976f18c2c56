"""The writer's turn of SQLite: fair among processes, and no longer than a process lives."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from wgfleet.panel.errors import Unavailable
from wgfleet.panel.store.turns import WriterTurns

CONTEXT = multiprocessing.get_context("fork")


def without_a_pause(database: Path, begun: Event, stop: Event) -> None:
    turns = WriterTurns(database)
    while not stop.is_set():
        assert turns.acquire(60)
        begun.set()
        turns.release()


def keep(database: Path, begun: Event) -> None:
    WriterTurns(database).acquire(60)
    begun.set()
    signal.pause()


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
