"""The words with which a panel starts: where it listens, how to log in, its first secrets to their owner alone."""

import os
import sys
from collections.abc import Collection, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import typer

from wgfleet.panel import machine
from wgfleet.panel.settings import Listener, Settings
from wgfleet.protocol.addresses import is_loopback

FIRST_KEY_FILE = "first-admin-key"
SET_UP_FILE = "set-up-address"
IPV6 = 6
# RFC 1918, RFC 6598 and RFC 4193: in many clouds a machine has only such a one, and is reached by another.
PRIVATE = [ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")]


def show_listeners(listeners: Sequence[Listener], fingerprint: str | None) -> None:
    """Print where the panel listens, and the fingerprint of its CA to recognize it by."""
    for listener in listeners:
        typer.echo(f"listening on {listener}")
    if fingerprint is not None:
        typer.echo(f"CA fingerprint: {fingerprint}")


def login_line(
    listeners: Sequence[Listener], fingerprint: str | None, settings: Settings, public: Collection[str] = ()
) -> str:
    """Return the command to copy that logs in here: at `public_url`, else where TLS is spoken, else on loopback.

    Where TLS is spoken, by the first of `tls.names`, or of the addresses that clients reach this machine at. `public`:
    the names of which anybody accepts the certificate.
    """
    chosen = next((each for each in listeners if each.secure), listeners[0])
    if chosen.secure and (named := [*settings.tls.names, *settings.panel_node.endpoint_addresses]):
        chosen = chosen._replace(host=named[0].strip("[]"))
    elif ip_address(chosen.host).is_unspecified:
        chosen = chosen._replace(host=_outbound(ip_address(chosen.host).version))
    url = settings.public_url or str(chosen)
    # Where no listener speaks TLS, a proxy does, with a certificate of its own.
    own = fingerprint and chosen.secure and url.startswith("https") and urlsplit(url).hostname not in public
    pinned = f" --ca-fingerprint {fingerprint}" if own else ""
    return f"wgfleet login {url}{pinned}"


def private_address_hint(listeners: Sequence[Listener], settings: Settings) -> str | None:
    """Say how others may have to reach this panel where only private addresses of its machine are known."""
    secure = [each for each in listeners if each.secure]
    if not secure or settings.public_url or settings.tls.names or settings.panel_node.endpoint_addresses:
        return None
    hosts = [ip_address(each.host) for each in secure]
    own = [ip_address(_outbound(each.version)) if each.is_unspecified else each for each in hosts]
    private = [each for each in own if any(each in network for network in PRIVATE)]
    if len(private) < len(own):
        return None
    return (
        f"{private[0]} is a private address. If others reach this machine by another one, as in many clouds, start "
        "it with --name ADDRESS (tls.names), and --panel-node-address ADDRESS for its users"
    )


def plain_address_hint(settings: Settings) -> str | None:
    """Say what does not work where people are to come by plain HTTP from elsewhere."""
    public = urlsplit(settings.public_url or "")
    if public.scheme != "http" or is_loopback(public.hostname or ""):
        return None
    return (
        f"public_url is {settings.public_url}: by plain http agents refuse to join and browsers offer no passkeys, and "
        "passwords, keys and links cross the network unencrypted. Give the https:// address of this panel, or of the "
        "proxy in front of it"
    )


def _outbound(family: int) -> str:
    own = [each for each in machine.outbound_addresses() if ip_address(each).version == family]
    return own[0] if own else ("127.0.0.1", "::1")[family == IPV6]


def show_set_up(data_dir: Path, address: str) -> None:
    """Print where a browser sets the panel up; as with the first key, in a file where no terminal reads it."""
    if sys.stdout.isatty():
        typer.echo(f"set up in a browser, once: {address}")
        return
    path = data_dir / SET_UP_FILE
    _write(path, address)
    typer.echo(f"set up in a browser: the address is in {path}, and is worth something once, until the next start")


def _write(path: Path, text: str) -> None:
    """Write a secret to a file of the owner's alone."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(f"{text}\n")


def show_first_key(data_dir: Path, key: str | None) -> None:
    """Print the first admin key on a terminal; elsewhere, where it might be kept, write it to a file for the owner."""
    if key is None:
        return
    if sys.stdout.isatty():
        typer.echo(f"admin API key: {key}")
        return
    path = data_dir / FIRST_KEY_FILE
    _write(path, key)
    typer.echo(f"admin API key: in {path}; delete the file when you have noted it")
