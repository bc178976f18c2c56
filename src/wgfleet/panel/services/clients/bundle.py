"""An archive of a user's file and the helper for Linux clients. Equal input gives equal bytes.

Must not decide what is in the user's file: that is services/files.py.
"""

import gzip
import io
import tarfile
from importlib import resources

from wgfleet.panel import client_helper
from wgfleet.panel.services.clients.files import ClientFile

README = "README.txt"
PROGRAM = "wgfleet-reresolve"
UNITS = ("wgfleet-reresolve@.service", "wgfleet-reresolve@.timer")
PRIVATE, READABLE, EXECUTABLE = 0o600, 0o644, 0o755
# 2000-01-01. The time of packing would make two archives of the same peer differ, and tar warns of 1970.
MODIFIED = 946_684_800


def archive(file: ClientFile) -> tuple[str, bytes]:
    """Pack a file; return the archive's name and its bytes (tar, gzip). What is in it lies in one folder."""
    interface = file.file_name.removesuffix(".conf")
    members = {
        file.file_name: (PRIVATE, file.text),
        README: (READABLE, read(README).format(interface=interface)),
        PROGRAM: (EXECUTABLE, read(PROGRAM)),
        **{name: (READABLE, read(name)) for name in UNITS},
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (mode, text) in sorted(members.items()):
            data = text.encode()
            entry = tarfile.TarInfo(f"{interface}/{name}")
            entry.mode, entry.size, entry.mtime = mode, len(data), MODIFIED
            tar.addfile(entry, io.BytesIO(data))
    return f"{interface}.tar.gz", gzip.compress(out.getvalue(), mtime=0)


def read(name: str) -> str:
    """Return a text that is packed along."""
    return resources.files(client_helper).joinpath(name).read_text(encoding="utf-8")
