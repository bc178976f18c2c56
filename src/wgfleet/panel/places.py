"""Places: how many may be at something at a time, counted over all processes that were forked from one.

A place is a lock on one byte of a file in memory (fcntl(2)), so that of a process that is killed none stays taken.
"""

import errno
import fcntl
import hashlib
import os
import threading

_MOST = 1 << 16  # places of a thing
_HASH_BYTES = 5


class Places:
    """Made before processes are forked. Each takes places for itself, and for nobody else."""

    def __init__(self) -> None:
        # It is never closed: a process that closes it anywhere lets go of all of its locks.
        self._file = os.memfd_create("places", os.MFD_CLOEXEC)
        self._lock = threading.Lock()
        self._mine: dict[str, set[int]] = {}

    def take(self, thing: str, most: int) -> int | None:
        """Take one of the `most` places of a thing; None: there is none."""
        start = _start(thing)
        with self._lock:
            mine = self._mine.setdefault(thing, set())
            for place in range(min(most, _MOST)):
                if place not in mine and self._locked(start + place):
                    mine.add(place)
                    return place
            if not mine:
                del self._mine[thing]
            return None

    def give_back(self, thing: str, place: int) -> None:
        """Let others have a place that was taken."""
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _start(thing) + place)
            mine = self._mine[thing]
            mine.remove(place)
            if not mine:
                del self._mine[thing]

    def _locked(self, at: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EAGAIN}:
                return False
            raise
        return True


def _start(thing: str) -> int:
    """Return where the places of a thing begin."""
    return int.from_bytes(hashlib.blake2b(thing.encode(), digest_size=_HASH_BYTES).digest()) * _MOST
