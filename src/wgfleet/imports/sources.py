"""Sources by the words that people type, each with its reader."""

from collections.abc import Callable
from pathlib import Path

from wgfleet.imports import opnsense, server_folders, wg_easy, wg_portal, wgdashboard, wireguard_ui
from wgfleet.imports.fleet import ImportedFleet

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
