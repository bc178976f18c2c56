"""`wgfleet peer file`, `files`, `bundle` and `qr`: what a user gets."""

import io
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from wgfleet.cli import references
from wgfleet.cli.arguments import Config, Peer
from wgfleet.cli.client import USAGE, CallFailed, Client, panel, part
from wgfleet.cli.output import Output, say, write_secret, write_secret_file
from wgfleet.panel.domain.file_names import file_stem
from wgfleet.qr_code import NoQrCodeError, hard_to_scan, qr_code

ARCHIVES = ("linux", "windows", "macos", "ios", "android")
FORMATS = ("conf", "networkmanager", "mikrotik", "openwrt", "mobileconfig-ios", "mobileconfig-macos", *ARCHIVES)
Format = Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")]
Node = Annotated[str | None, typer.Option(help="Node of an independent config.")]


def files(
    config: Config,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the ZIP to this file (for you only).")],
    node: Node = None,
) -> None:
    """Write the files of all peers of a config into one ZIP, named after the peers."""
    packed, taken = io.BytesIO(), set[str]()
    with panel() as client:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for peer in client.all(f"/api/configs/{part(config)}/peers"):
                stem = file_stem(peer["name"], peer["id"], taken)
                taken.add(stem.casefold())
                archive.writestr(f"{stem}.conf", client.text(f"/api/peers/{part(peer['id'])}/config", node=node))
        write_secret_file(packed.getvalue(), output)
    say(f"{len(taken)} file{'s' * (len(taken) != 1)}", err=True)


def file(peer: Peer, *, platform: Format = "conf", node: Node = None, output: Output = None) -> None:
    """Print a peer's file for wg-quick and the WireGuard apps, or write it; or what a platform imports.

    windows, macos, ios and android are ZIPs with a how-to, linux is a tar.gz with the helper: give --output with them.
    """
    check_format(platform, output)
    with panel() as client:
        save(client, f"/api/peers/{references.peer(client, peer)}/file", platform, node, output)


def check_format(platform: str, output: Path | None) -> None:
    """Refuse an archive that has no file to go to."""
    if output is None and platform in ARCHIVES:
        say(f"error: {platform} is an archive; write it to a file with --output", err=True)
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
    code.terminal(compact=True)
    if (warning := hard_to_scan(code)) is not None:
        say(f"warning: {warning}", err=True)
