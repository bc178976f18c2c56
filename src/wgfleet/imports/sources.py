"""Sources by the words that people type, each with its reader."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from wgfleet.imports import opnsense, server_folders, wg_easy, wg_portal, wgdashboard, wireguard_ui
from wgfleet.imports.fleet import MALFORMED, ImportedFleet, UnreadableError, well_formed, why

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


def read(source: str, path: Path, *, environment: Path | None = None, files: Path | None = None) -> ImportedFleet:
    """Read a source (one of `SOURCES`), whatever is in it. Raise `UnreadableError`.

    `environment`, `files`: what wg-easy and wgdashboard take beside their path.
    """
    reader = SOURCES[source]
    if source == "wg-easy":
        reader = partial(wg_easy.read, environment=environment)
    elif source == "wgdashboard" and files is not None:
        reader = partial(wgdashboard.read, configurations=files)
    try:
        return well_formed(reader(path))
    except OSError as error:
        raise UnreadableError(f"{error.filename or path}: {error.strerror}") from None
    except MALFORMED as error:
        raise UnreadableError(f"{path}: is not as {source} keeps it: {why(error)}") from None
