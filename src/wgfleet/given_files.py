"""Files that people name, read whole: what would be waited for, or never end, is refused."""

import errno
import os
import select
import stat
from pathlib import Path

WRITER_S = 2.0  # in which somebody writes to a pipe, if anybody does


def read(path: Path, most: int, *, pipe: bool = False) -> bytes:
    """Return up to `most` + 1 bytes of a regular file; of a `pipe` as well, if somebody writes to it soon.

    Raise `OSError`: `EISDIR` and `EINVAL` for what is no file, with words for people as any other.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(kind) and not (pipe and stat.S_ISFIFO(kind)):
            raise OSError(errno.EINVAL, "is no file")
        # Nothing can be read of a pipe that nobody has opened to write; of one that was closed again, its end.
        if stat.S_ISFIFO(kind) and not select.select([descriptor], [], [], WRITER_S)[0]:
            raise OSError(errno.EINVAL, "is no file, and a pipe to which nobody writes")
        os.set_blocking(descriptor, True)
        return file.read(most + 1)
