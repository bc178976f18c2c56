"""Files of the state directory: written whole or not at all, readable by the agent alone, set aside when damaged."""

import contextlib
import errno
import os
import stat
import time
from pathlib import Path

import structlog

TEMPORARY = ".tmp"
ASIDE = ".damaged-"  # then when it was set aside, in UTC
_MAX_BYTES = 256 * 1024 * 1024  # far beyond any state; more would be the end of this process
_MAX_NOTES = 20
_log = structlog.get_logger()


class DamagedFileError(Exception):
    """A file of the agent's state cannot be used; the text says why."""


class DamagedFiles:
    """The files that could not be used. Each is renamed and kept, so that the agent can go on and a person can look."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence about each, the newest last."""
        return tuple(self._notes)

    def set_aside(self, path: Path, why: object, *, way_out: str) -> None:
        """Rename `path`, and note it; a file that cannot be renamed is noted all the same. `way_out`: what follows."""
        aside = path.with_name(f"{path.name}{ASIDE}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        number = 1
        while os.path.lexists(aside):
            aside, number = aside.with_name(f"{aside.name.partition('~')[0]}~{number}"), number + 1
        try:
            path.rename(aside)
        except OSError as error:
            kept = f"could not be renamed ({error.strerror})"
        else:
            kept = f"is kept as {aside.name}"
            with contextlib.suppress(OSError):
                sync_directory(path.parent)
        self.note(f"{path} is damaged ({why}) and {kept}; {way_out}")

    def note(self, text: str) -> None:
        """Note something else about the state that people should know."""
        _log.error("state.damaged", reason=text)
        if text not in self._notes:
            self._notes = [*self._notes, text][-_MAX_NOTES:]


def read_file(path: Path) -> bytes:
    """Read a file; FileNotFoundError if there is none, `DamagedFileError` if it is no file or cannot be read.

    What others may read is made the agent's alone. A FIFO or a device in its place is not waited for.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if path.is_symlink():
            raise DamagedFileError("a link to nothing") from None
        raise
    except OSError as error:
        raise DamagedFileError(error.strerror) from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise DamagedFileError("not a file")
        if found.st_size > _MAX_BYTES:
            raise DamagedFileError(f"{found.st_size} bytes long")
        if found.st_mode & 0o077:
            with contextlib.suppress(OSError):
                os.fchmod(handle, 0o600)
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read()
    except OSError as error:
        raise DamagedFileError(error.strerror) from None
    finally:
        os.close(handle)


def make_directory(path: Path, damaged: DamagedFiles) -> None:
    """Make a directory of the agent's own (0700), or its mode right; set aside what is there instead."""
    if os.path.lexists(path):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            damaged.set_aside(path, error.strerror, way_out="a new directory takes its place")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # read-only, or another owner's: it could be opened, which is what matters
        path.chmod(0o700)


def make_room(path: Path, damaged: DamagedFiles) -> None:
    """Set aside what is in the place of a file and is none, such as a directory: it would stop every write."""
    if os.path.lexists(path) and not path.is_file():
        damaged.set_aside(path, "not a file", way_out="a new one takes its place")


def write_atomic(path: Path, data: bytes, damaged: DamagedFiles | None = None) -> None:
    """Replace `path` so that a reader, even after a power cut, finds the old content or the new."""
    temporary = path.with_name(path.name + TEMPORARY)
    for each in (path, temporary):
        make_room(each, damaged or DamagedFiles())
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_at(handle: int, offset: int, line: bytes) -> None:
    """Have a file end with a line at `offset`, durably; OSError means that it ends there without it."""
    os.ftruncate(handle, offset)
    if os.pwrite(handle, line, offset) != len(line):  # a full disk writes what fits
        os.ftruncate(handle, offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(handle)


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporaries(directory: Path, damaged: DamagedFiles) -> None:
    """Remove what an interrupted write left behind."""
    for path in directory.glob(f"*{TEMPORARY}"):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # a directory, or a disk that cannot be written: no write can succeed until it is gone
            damaged.set_aside(path, error.strerror, way_out="nothing is lost")
