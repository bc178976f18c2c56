"""The lock of a running panel on its files: of those that run on one data directory, or one SQLite file, one at a time.

The lock belongs to the panel's processes and ends with the last of them, however they end.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from wgfleet.panel import clock
from wgfleet.panel.errors import PermanentError
from wgfleet.panel.settings import Settings
from wgfleet.panel.store.databases import sqlite_file

LOCK_FILE = "panel.lock"
LAST_S = 3.0  # the processes of a panel that was killed a moment ago may not be gone yet
_LOOK_S = 0.1


class FilesInUse(PermanentError):
    """Another panel runs on the same files."""


def lock_files(settings: Settings, *, wait: bool, waiting: Callable[[str], None]) -> None:
    """Lock the panel's files until this process and its children have ended, or raise `FilesInUse`.

    `wait`: wait for the other panel's end instead; `waiting` is then called once with who it is.
    """
    for directory in _directories(settings):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _lock(directory, wait=wait, waiting=waiting)


def check_unlocked(settings: Settings) -> None:
    """Raise `FilesInUse` where a panel runs on the files; nothing is locked."""
    for directory in _directories(settings):
        with contextlib.suppress(FileNotFoundError), (directory / LOCK_FILE).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FilesInUse(f"a panel ({file.read(100).strip()}) runs on {directory}; end it first") from None


def _directories(settings: Settings) -> list[Path]:
    file = sqlite_file(settings.store_url)
    found = [settings.data_dir] if file is None else [settings.data_dir, file.parent]
    return list(dict.fromkeys(path.resolve() for path in found))


def _lock(directory: Path, *, wait: bool, waiting: Callable[[str], None]) -> None:
    # Never closed: the lock is to last as long as the process. Children that are forked share it.
    file = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline, said = clock.monotonic() + LAST_S, False
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()}\n".encode(), 0)
            return
        if clock.monotonic() > deadline:
            who = os.pread(file, 100, 0).decode(errors="replace").strip() or "unknown process"
            if not wait:
                os.close(file)
                raise FilesInUse(
                    f"another panel ({who}) runs on {directory}; end it, choose another with --data-dir, or start this "
                    "one with --standby, to wait for its end"
                )
            if not said:
                waiting(f"another panel ({who}) runs on {directory}; waiting for its end")
                said = True
        time.sleep(_LOOK_S)
