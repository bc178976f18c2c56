"""The writer's turn of an SQLite database: one transaction at a time, and a fair order among threads and processes.

SQLite polls for its own lock, ever more slowly, so that a process which writes without a pause keeps all others out.
Here a process holds the place of the next writer while it waits; nobody passes it but threads that go first, for which
clients wait. A process that ends, however it does, leaves its place and its turn. SQLite's lock stays what keeps the
file whole.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.request_threads import elsewhere
from wgfleet.panel.store.thread_order import ThreadOrder
from wgfleet.protocol.reasons import Reason

WRITER_S = 10.0  # a transaction of ours takes milliseconds, the largest a second; beyond this something hangs
_LOOK_S = 0.0005
_FIRST, _NEXT, _TURN = range(3)

_of_thread = threading.local()


def go_first() -> None:
    """Let the calling thread pass all others that wait for a turn from now on, of whatever process."""
    _of_thread.goes_first = True


class WriterTurns:
    """The turns of one database file. They are taken by way of three files beside it, which stay empty."""

    def __init__(self, database: Path) -> None:
        self._paths = [database.with_name(f"{database.name}-{name}") for name in ("first", "next", "turn")]
        self._files: list[int] = []
        # Of a process one thread at a time takes part: it has each file open once, and a lock belongs to that.
        self._threads = ThreadOrder()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the turn for a block; raise `Unavailable` where it is not had within `WRITER_S`."""
        with elsewhere():
            had = self.acquire(WRITER_S)
        if not had:
            raise Unavailable(Reason("another transaction does not end; try again"), retry_after_s=1)
        try:
            yield
        finally:
            self.release()

    def acquire(self, timeout_s: float) -> bool:
        """Wait for the turn; tell whether it was had in time."""
        deadline, first = clock.monotonic() + timeout_s, getattr(_of_thread, "goes_first", False)
        while self._threads.acquire(deadline - clock.monotonic(), first=first):
            had = False
            try:
                had = self._passed(deadline, first=first)
            finally:
                if not had:
                    self._threads.release()
            if had:
                return True
            if clock.monotonic() > deadline:
                break
        return False

    def release(self) -> None:
        """End the turn."""
        fcntl.flock(self._files[_TURN], fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        """Close the files; the next turn opens them again."""
        self._threads.acquire(None)
        try:
            while self._files:
                os.close(self._files.pop())
        finally:
            self._threads.release()

    def _passed(self, deadline: float, *, first: bool) -> bool:
        """Wait for the turn among processes; False: not in time, or a thread of this one goes first."""
        while len(self._files) < len(self._paths):
            self._files.append(_opened(self._paths[len(self._files)]))
        place = self._files[_FIRST if first else _NEXT]
        while not _locked(place):
            if not self._may_wait(deadline, first=first):
                return False
        try:
            # Who holds the place of the next misses nothing by looking; a wait in the kernel could not be ended.
            while not ((first or self._nobody_goes_first()) and _locked(self._files[_TURN])):
                if not self._may_wait(deadline, first=first):
                    return False
        finally:
            fcntl.flock(place, fcntl.LOCK_UN)
        return True

    def _may_wait(self, deadline: float, *, first: bool) -> bool:
        """Wait a little; False: not any longer."""
        if clock.monotonic() > deadline or (not first and self._threads.first_waits):
            return False
        time.sleep(_LOOK_S)
        return True

    def _nobody_goes_first(self) -> bool:
        """Tell whether no other process has a thread that goes first and waits."""
        if not _locked(self._files[_FIRST]):
            return False
        fcntl.flock(self._files[_FIRST], fcntl.LOCK_UN)
        return True


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            Reason("{path}: {error}; try again", path=path, error=error.strerror), retry_after_s=1
        ) from error


def _locked(file: int) -> bool:
    """Lock a file if nobody has; tell whether that was so."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
