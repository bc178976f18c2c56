"""A lock among the threads of a process that is given in the order of asking, to those that go first before others."""

import heapq
import threading
from itertools import count


class ThreadOrder:
    """The lock. It is handed on, so that nobody who comes later takes it in between."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: list[tuple[bool, int, threading.Lock]] = []
        self._numbers = count()

    @property
    def first_waits(self) -> bool:
        """Whether a thread that goes first waits for the lock."""
        with self._guard:
            return bool(self._waiting) and not self._waiting[0][0]

    def acquire(self, timeout_s: float | None, *, first: bool = False) -> bool:
        """Wait for the lock, None: for as long as it takes; tell whether it was had in time."""
        with self._guard:
            if not self._held:
                self._held = True
                return True
            handed = threading.Lock()
            handed.acquire()
            place = (not first, next(self._numbers), handed)
            heapq.heappush(self._waiting, place)
        if handed.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
            return True
        with self._guard:
            if place not in self._waiting:
                return True  # it was handed on in this moment
            self._waiting.remove(place)
            heapq.heapify(self._waiting)
            return False

    def release(self) -> None:
        """Hand the lock to the next."""
        with self._guard:
            if self._waiting:
                heapq.heappop(self._waiting)[2].release()
            else:
                self._held = False
