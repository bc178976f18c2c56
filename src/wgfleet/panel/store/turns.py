"""The writer's turn of an SQLite database: one transaction at a time, and a fair order among threads and processes.

SQLite polls for its own lock, ever more slowly, so that a process which writes without a pause keeps all others out.
Here a process holds the place of the next writer while it waits; nobody passes it. A process that ends, however it
does, leaves its place and its turn. SQLite's lock stays what keeps the file whole.
"""

import fcntl
import os
import threading
import time
from pathlib import Path

from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable

_LOOK_S = 0.0005


class WriterTurns:
    """The turns of one database file. They are taken by way of two files beside it, which stay empty."""

    def __init__(self, database: Path) -> None:
        self._paths = [database.with_name(f"{database.name}-{name}") for name in ("next", "turn")]
        self._files: list[int] = []
        # Of a process one thread at a time takes part: it has each file open once, and a lock belongs to that.
        self._threads = threading.Lock()

    def acquire(self, timeout_s: float) -> bool:
        """Wait for the turn; tell whether it was had in time."""
        deadline = clock.monotonic() + timeout_s
        if not self._threads.acquire(timeout=timeout_s):
            return False
        had = False
        try:
            had = self._passed(deadline)
        finally:
            if not had:
                self._threads.release()
        return had

    def release(self) -> None:
        """End the turn."""
        fcntl.flock(self._files[1], fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        """Close the files; the next turn opens them again."""
        with self._threads:
            while self._files:
                os.close(self._files.pop())

    def _passed(self, deadline: float) -> bool:
        while len(self._files) < len(self._paths):
            self._files.append(_opened(self._paths[len(self._files)]))
        place, turn = self._files
        if not _locked(place, deadline):
            return False
        try:
            return _locked(turn, deadline)
        finally:
            fcntl.flock(place, fcntl.LOCK_UN)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; try again", retry_after_s=1) from error


def _locked(file: int, deadline: float) -> bool:
    # A wait in the kernel could not be ended in time. Who holds the place of the next misses nothing by looking.
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S)
        else:
            return True
