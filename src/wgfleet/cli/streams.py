"""Standard input and output as they are found: closed, of any encoding, or on a disk without room."""

import errno
import io
import os
import select
import sys
import time

NO_BLOCKS = "this terminal's encoding has no blocks to draw the code with; repeat it with LC_ALL=C.UTF-8"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def say_anything() -> None:
    """Have names that the output's encoding lacks written as their numbers; no command fails because of them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not _has_all(stream.encoding):
            stream.reconfigure(errors="backslashreplace")


def read_nothing() -> None:
    """Have a standard input that was closed be an empty one."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - for as long as the program runs


def has_blocks() -> bool:
    """Say whether standard output can show the blocks that codes for phones are made of."""
    return sys.stdout is not None and _has_all(sys.stdout.encoding or "utf-8")


def wait(seconds: float) -> None:
    """Wait; raise `BrokenPipeError`, as writing does, once the reader of a pipe with our output has gone."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or in memory
        time.sleep(seconds)
        return
    reader = select.poll()
    reader.register(descriptor, 0)  # of itself it tells of errors alone
    if any(what & select.POLLERR for _, what in reader.poll(seconds * 1000)):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def write_no_more() -> None:
    """Have what is left to be written go nowhere: it would fail again at the end of the program."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _has_all(encoding: str) -> bool:
    return encoding.lower().replace("_", "-").startswith("utf")
