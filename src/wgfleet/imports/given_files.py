"""Files of other programs that people name: read where they are not too large."""

import errno
from pathlib import Path

from wgfleet import given_files
from wgfleet.imports.fleet import UnreadableError
from wgfleet.protocol.reasons import Reason

MAX_BYTES = 16 * 1024 * 1024


def bytes_of(path: Path, *, pipe: bool = False) -> bytes:
    """Return what is in a file, or in a `pipe`. Raise `UnreadableError`."""
    try:
        return checked(given_files.read(path, MAX_BYTES, pipe=pipe), str(path))
    except OSError as error:
        if error.errno == errno.EINVAL and not pipe:
            raise UnreadableError(Reason("{path}: is no file", path=path)) from None
        raise UnreadableError(f"{path}: {error.strerror}") from None


def checked(raw: bytes, name: str) -> bytes:
    """Refuse what is longer than any such file. Raise `UnreadableError`."""
    if len(raw) > MAX_BYTES:
        raise UnreadableError(
            Reason("{name}: larger than {most} MiB; give it in parts", name=name, most=MAX_BYTES // 1024 // 1024)
        )
    return raw
