"""Sources by the words that people type, each with its reader."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from wgfleet.imports import long_texts, opnsense, server_folders, spoilt, wg_easy, wg_portal, wgdashboard, wireguard_ui
from wgfleet.imports.fleet import MALFORMED, ImportedFleet, UnreadableError, well_formed, why
from wgfleet.imports.texts import whole_characters
from wgfleet.protocol.reasons import Reason

_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf\x27\x1c", b"Rar!")
_TAR = slice(257, 262)  # where tar has its word
_LONGEST = 512
Reader = Callable[[Path], ImportedFleet]

SOURCES: dict[str, Reader] = {
    "wg-quick": server_folders.read,
    "pivpn": server_folders.read,
    "wgdashboard": wgdashboard.read,
    "wg-easy": wg_easy.read,
    "wireguard-ui": wireguard_ui.read,
    "wg-portal": wg_portal.read,
    "opnsense": opnsense.read,
    "pfsense": opnsense.read,
}


def read(
    source: str,
    path: Path,
    *,
    environment: Path | None = None,
    files: Path | None = None,
    commented_out: bool = False,
) -> ImportedFleet:
    """Read a source (one of `SOURCES`), whatever is in it. Raise `UnreadableError`.

    `environment`, `files`: what wg-easy and wgdashboard take beside their path. `commented_out`: peers that somebody
    commented out in a file of wg-quick come in too, disabled.
    """
    _check_kind(path)
    reader = SOURCES[source]
    if source == "wg-easy":
        reader = partial(wg_easy.read, environment=environment)
    elif source == "wgdashboard" and files is not None:
        reader = partial(wgdashboard.read, configurations=files)
    elif reader is server_folders.read:
        reader = partial(server_folders.read, commented_out=commented_out)
    try:
        found = reader(path)
        said = tuple(map(whole_characters, found.warnings))
        found = well_formed(found)
        return long_texts.shortened(msgspec.structs.replace(found, warnings=said + spoilt.findings(found)))
    except OSError as error:
        raise UnreadableError(f"{error.filename or path}: {error.strerror}") from None
    except MALFORMED as error:
        raise UnreadableError(
            Reason("{path}: is not as {source} keeps it: {error}", path=path, source=source, error=why(error))
        ) from None


def _check_kind(path: Path) -> None:
    """Refuse a file that is none of any source. What there is not, or is not to be opened, the readers refuse."""
    with suppress(OSError):
        if not path.is_file():
            return
        if not path.stat().st_size and not path.with_name(f"{path.name}-wal").is_file():
            raise UnreadableError(Reason("{path}: is empty", path=path))
        with path.open("rb") as file:
            begin = file.read(_LONGEST)
        if begin.startswith(_ARCHIVES) or begin[_TAR.start : _TAR.stop] == b"ustar":
            raise UnreadableError(Reason("{path}: is an archive; unpack it, and give the folder", path=path))
