"""Files that people name, read whole: what would be waited for, or never end, is refused."""

import errno
import os
import select
import stat
from pathlib import Path

WRITER_S = 2.0  # in which somebody opens a pipe to write, if anybody does: what writes may take its time


def read(path: Path, most: int, *, pipe: bool = False) -> bytes:
    """Return up to `most` + 1 bytes of a regular file; of a `pipe` as well, if somebody opens it soon.

    Raise `OSError`: `EISDIR` and `EINVAL` for what is no file, with words for people as any other.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(kind) and not (pipe and stat.S_ISFIFO(kind)):
            raise OSError(errno.EINVAL, "is no file")
        begin = _begin(descriptor, most + 1) if stat.S_ISFIFO(kind) else b""
        os.set_blocking(descriptor, True)
        return begin + file.read(most + 1 - len(begin))


def _begin(pipe: int, most: int) -> bytes:
    """Return what can be read of a pipe by now: of one that somebody has opened and writes to later, nothing yet."""
    # Of one that nobody has opened to write nothing comes; of one that was closed again, its end.
    has_come = bool(select.select([pipe], [], [], WRITER_S)[0])
    try:
        begin = os.read(pipe, most)
    except BlockingIOError:
        return b""
    if not begin and not has_come:
        raise OSError(errno.EINVAL, "is no file, and a pipe to which nobody writes")
    return begin
