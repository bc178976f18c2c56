"""`wgfleet peer file`, `files`, `bundle` and `qr`: what a user gets."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from wgfleet.cli import references
from wgfleet.cli.arguments import Config, Peer
from wgfleet.cli.client import FAILED, USAGE, CallFailed, Client, panel, part
from wgfleet.cli.output import Output, say, write_secret, write_secret_file
from wgfleet.cli.streams import NO_BLOCKS, has_blocks
from wgfleet.cli.tree import complain
from wgfleet.qr_code import NoQrCodeError, hard_to_scan, qr_code

ARCHIVES = ("linux", "windows", "macos", "ios", "android")
FORMATS = ("conf", "networkmanager", "mikrotik", "openwrt", "mobileconfig-ios", "mobileconfig-macos", *ARCHIVES)
Format = Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")]
END, END_64 = 22, 76  # bytes of a ZIP's end, and of what stands before it where there are many files
MANY = 0xFFFF
Node = Annotated[str | None, typer.Option(help="Node of an independent config.")]


def files(
    config: Config,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the ZIP to this file (for you only).")],
    node: Node = None,
    search: Annotated[str | None, typer.Option(help="Only those with this part in the name.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
) -> None:
    """Write the files of all peers of a config into one ZIP, named after the peers."""
    with panel() as client:
        packed = _Arriving(client.parts(f"/api/configs/{part(config)}/files", node=node, search=search, tag=tag))
        write_secret_file(packed, output)
    say(f"{packed.count} file{'s' * (packed.count != 1)}", err=True)


class _Arriving:
    """The parts of a ZIP; raises at their end where it is none, such as one that something on the way cut off."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        end = b""
        for each in self._parts:
            end = (end + each)[-END_64 - END :]
            yield each
        if end[-END : -END + 4] != b"PK\x05\x06":
            raise CallFailed("the ZIP has no end, so files are missing; try it again")
        (self.count,) = struct.unpack_from("<H", end, len(end) - END + 10)
        if self.count == MANY:
            (self.count,) = struct.unpack_from("<Q", end, len(end) - END - END_64 + 32)


def file(
    peer: Peer,
    *,
    platform: Format = "conf",
    node: Node = None,
    output: Output = None,
    whole: Annotated[
        bool, typer.Option("--zip", help="Write the files for all nodes of an independent config into one ZIP.")
    ] = False,
) -> None:
    """Print a peer's file for wg-quick and the WireGuard apps, or write it; or what a platform imports.

    windows, macos, ios and android are ZIPs with a how-to, linux is a tar.gz with the helper: give --output with them.
    """
    check_format(platform, output)
    if whole and (output is None or node is not None or platform != "conf"):
        complain("--zip takes the files for all nodes: give --output with it, and neither --node nor --format")
        raise typer.Exit(USAGE)
    with panel() as client:
        if whole and output is not None:
            write_secret_file(client.content(f"/api/peers/{references.peer(client, peer)}/configs/zip"), output)
            return
        save(client, f"/api/peers/{references.peer(client, peer)}/file", platform, node, output)


def check_format(platform: str, output: Path | None) -> None:
    """Refuse an archive that has no file to go to."""
    if output is None and platform in ARCHIVES:
        complain(f"{platform} is an archive; write it to a file with --output")
        raise typer.Exit(USAGE)


def save(client: Client, path: str, platform: str, node: str | None, output: Path | None) -> None:
    """Print or write a user's file."""
    if output is None:
        write_secret(client.text(path, format=platform, node=node), None)
    else:
        write_secret_file(client.content(path, format=platform, node=node), output)


def bundle(
    peer: Peer,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the tar.gz to this file (for you only).")],
    node: Node = None,
) -> None:
    """Write a peer's file with the Linux helper, which finds another server if its own is down."""
    with panel() as client:
        write_secret_file(client.content(f"/api/peers/{references.peer(client, peer)}/bundle", node=node), output)


def qr(peer: Peer, *, node: Node = None) -> None:
    """Show a peer's file as a QR code in the terminal."""
    with panel() as client:
        text = client.text(f"/api/peers/{references.peer(client, peer)}/config", node=node)
        try:
            code = qr_code(text)
        except ModuleNotFoundError:
            raise CallFailed("wgfleet peer qr needs the panel's libraries: script/install panel") from None
        except NoQrCodeError as error:
            raise CallFailed(str(error)) from None
    if not has_blocks():
        complain(NO_BLOCKS)
        raise typer.Exit(FAILED)
    code.terminal(compact=True)
    if (warning := hard_to_scan(code)) is not None:
        say(f"warning: {warning}", err=True)
