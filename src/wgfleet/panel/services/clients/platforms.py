"""Downloads of a user's file for each platform: as it is, as routers and systems import it, in archives with a how-to.

Equal input gives equal bytes.
"""

import io
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from wgfleet.panel.domain import platform_files
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services.clients import bundle
from wgfleet.panel.services.clients.files import ClientFile
from wgfleet.protocol.reasons import Reason
from wgfleet.qr_code import NoQrCodeError, code_image

_MODIFIED = (2000, 1, 1, 0, 0, 0)  # as in `bundle`
_UNIX = 3


class Platform(StrEnum):
    """For what a file is."""

    CONF = "conf"
    LINUX = "linux"
    NETWORK_MANAGER = "networkmanager"
    WINDOWS = "windows"
    MACOS = "macos"
    IOS = "ios"
    ANDROID = "android"
    MIKROTIK = "mikrotik"
    OPENWRT = "openwrt"
    MACOS_PROFILE = "mobileconfig-macos"
    IOS_PROFILE = "mobileconfig-ios"


@dataclass(frozen=True, slots=True)
class PlatformFile:
    """A download."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


def made(file: ClientFile, platform: Platform) -> PlatformFile:
    """Make a download of a user's file."""
    stem = file.file_name.removesuffix(".conf")
    if platform is Platform.CONF:
        return PlatformFile(file.file_name, "text/plain", file.text.encode())
    if platform is Platform.LINUX:
        name, content = bundle.archive(file)
        return PlatformFile(name, "application/gzip", content)
    if platform in {Platform.WINDOWS, Platform.MACOS, Platform.IOS, Platform.ANDROID}:
        return PlatformFile(f"{stem}-{platform}.zip", "application/zip", _archive(file, stem, platform))
    return _imported(file, stem, platform)


def _imported(file: ClientFile, stem: str, platform: Platform) -> PlatformFile:
    values = file.values
    if values is None or values.private_key is None:
        raise Conflict(
            Reason(
                "the user has the private key, so a file of this kind would lack it: take the stock file, and put it in"
            )
        )
    if platform is Platform.NETWORK_MANAGER:
        text = platform_files.network_manager(values, stem)
        return PlatformFile(f"{stem}.nmconnection", "text/plain", text.encode())
    if platform is Platform.MIKROTIK:
        return PlatformFile(f"{stem}.rsc", "text/plain", platform_files.routeros(values, stem).encode())
    if platform is Platform.OPENWRT:
        return PlatformFile(f"{stem}-openwrt.sh", "text/plain", platform_files.openwrt(values, stem).encode())
    system: Literal["ios", "macos"] = "ios" if platform is Platform.IOS_PROFILE else "macos"
    profile = platform_files.mobileconfig(values, stem, system)
    return PlatformFile(f"{stem}-{system}.mobileconfig", "application/x-apple-aspen-config", profile)


def _archive(file: ClientFile, stem: str, platform: Platform) -> bytes:
    """Pack the stock file, a how-to, and what else the platform can take."""
    text = bundle.read(f"{platform}.txt")
    members = {file.file_name: file.text.encode(), bundle.README: text.format(interface=stem).encode()}
    if platform in {Platform.IOS, Platform.ANDROID}:
        with suppress(NoQrCodeError):
            members[f"{stem}.png"] = code_image(file.text, "png")
    if platform in {Platform.IOS, Platform.MACOS} and file.values is not None and file.values.private_key is not None:
        profile = platform_files.mobileconfig(file.values, stem, "ios" if platform is Platform.IOS else "macos")
        members[f"{stem}.mobileconfig"] = profile
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, data in sorted(members.items()):
            entry = zipfile.ZipInfo(f"{stem}/{name}", _MODIFIED)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, _UNIX
            entry.external_attr = bundle.PRIVATE << 16
            packed.writestr(entry, data)
    return out.getvalue()
