"""Files that people name: read where they are regular and not too large; pipes and devices would be waited for."""

import os
import stat
from pathlib import Path

from wgfleet.imports.fleet import UnreadableError
from wgfleet.protocol.reasons import Reason

MAX_BYTES = 16 * 1024 * 1024


def bytes_of(path: Path) -> bytes:
    """Return what is in a file. Raise `UnreadableError`."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreadableError(Reason("{path}: is no file", path=path))
            return checked(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}") from None


def checked(raw: bytes, name: str) -> bytes:
    """Refuse what is longer than any such file. Raise `UnreadableError`."""
    if len(raw) > MAX_BYTES:
        raise UnreadableError(
            Reason("{name}: larger than {most} MiB; give it in parts", name=name, most=MAX_BYTES // 1024 // 1024)
        )
    return raw


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to would be waited for."""
    return os.open(path, flags | os.O_NONBLOCK)
