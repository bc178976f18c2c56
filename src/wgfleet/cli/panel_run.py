"""`wgfleet panel run` as processes: a parent, the core and those of the API; and how the first key is shown."""

import asyncio
import functools
import multiprocessing
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import typer

from wgfleet.panel import machine
from wgfleet.panel.core import run_core
from wgfleet.panel.listening import PanelServer, PlainDoor, Sockets
from wgfleet.panel.main import (
    api_of,
)  # before any process is forked: an upgrade may replace what is loaded later
from wgfleet.panel.parts import Parts, opened
from wgfleet.panel.plain_door import plain_door
from wgfleet.panel.processes import SignsOfLife, keep_running
from wgfleet.panel.reconcile.engine.loop import CoreLoop
from wgfleet.panel.server_certificate import CommonCertificate, ServerCertificate
from wgfleet.panel.services import web_certificates
from wgfleet.panel.services.web_certificates import ShownCertificate
from wgfleet.panel.settings import Listener, Settings
from wgfleet.panel.siblings import Siblings
from wgfleet.panel.store import CONNECTIONS
from wgfleet.panel.tokens import digest

FIRST_KEY_FILE = "first-admin-key"
SET_UP_FILE = "set-up-address"
API_NICENESS = 5  # where processors are short, the core comes first
MAX_HOST = 40
IPV6 = 6
HTTPS = 443
# RFC 1918, RFC 6598 and RFC 4193: in many clouds a machine has only such a one, and is reached by another.
PRIVATE = [ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")]


class PanelRun:
    """A panel that was prepared. The parts are closed; each process opens its own.

    `set_up`: the secret in the address that sets it up, None: it has an administrator.
    """

    def __init__(
        self,
        parts: Parts,
        sockets: Sockets,
        certificate: ServerCertificate,
        set_up: str | None = None,
        plain_sockets: Sockets = (),
    ) -> None:
        self._plain_sockets = plain_sockets
        self._set_up = set_up
        self._settings, self._vault = parts.settings, parts.vault
        self._sockets = sockets
        self._certificate = certificate
        self._name = f"{machine.host_name()[:MAX_HOST]}:{os.getpid()}"
        self._apis = Siblings.begin(parts.settings.api.count(), parts.settings.data_dir)
        self._unannounced = multiprocessing.get_context("fork").Semaphore(1)

    def run(self) -> None:
        """Run core and APIs until this process gets a signal to end."""
        apis = {f"api-{each.number}": functools.partial(self._api, each) for each in self._apis}
        keep_running({"core": self._core, **apis})

    def _core(self, signs: SignsOfLife) -> None:
        with opened(self._settings, self._vault) as parts:

            async def beside(stack: AsyncExitStack) -> None:
                if parts.settings.panel_node.enabled:
                    # The agent's libraries are for those that need them.
                    from wgfleet.panel_node.supervisor import PanelNode  # noqa: PLC0415 - loaded when asked for

                    node = PanelNode(parts.settings)
                    stack.push_async_callback(node.close)
                    await node.start(parts.store, parts.authorities)

            async def run() -> None:
                signs.begin()
                await run_core(parts, self._name, beside)

            with asyncio.Runner(loop_factory=CoreLoop) as runner:
                runner.run(run())

    def _api(self, siblings: Siblings, signs: SignsOfLife) -> None:
        os.nice(API_NICENESS)

        async def announce() -> None:
            signs.begin()
            if self._unannounced.acquire(block=False):
                listeners = [listener for listener, _ in self._sockets]
                show_listeners(listeners, self._certificate.fingerprint)
                public = self._certificate.public_names
                line = login_line(listeners, self._certificate.fingerprint, self._settings, public)
                typer.echo(f"log in with: {line}")
                if self._set_up is not None:
                    show_set_up(self._settings.data_dir, f"{line.split()[2]}/set-up/{self._set_up}")
                if (hint := private_address_hint(listeners, self._settings)) is not None:
                    typer.echo(hint)
                sys.stdout.flush()

        with opened(self._settings, self._vault, CONNECTIONS // siblings.count) as parts:
            self._certificate.issue_from(parts.newest_authority, CommonCertificate(siblings.notes, parts.vault))
            plain = None
            if self._settings.acme.directory is not None:
                self._certificate.show_also(lambda: _shown(parts))
            if self._plain_sockets:
                answers = plain_door(lambda token: _answer(parts, token), _home(self._settings))
                plain = PlainDoor(self._plain_sockets, answers)
            set_up = None if self._set_up is None else digest(self._set_up)
            app = api_of(parts, self._name, set_up, siblings, again=self._unannounced.get_value() == 0)
            server = PanelServer(app, self._sockets, self._certificate, announce, parts.settings.door, plain, siblings)
            asyncio.run(server.serve())


def _shown(parts: Parts) -> ShownCertificate | None:
    with parts.store.read() as tx:
        return web_certificates.shown(tx, parts.vault, parts.settings.acme_names())


def _answer(parts: Parts, token: str) -> str | None:
    with parts.store.read() as tx:
        return web_certificates.answer(tx, token)


def _home(settings: Settings) -> str:
    """Return where a browser is sent that comes by plain http."""
    if settings.public_url:
        return f"{settings.public_url}/"
    port = next((each.port for each in settings.listen if each.secure), HTTPS)
    name = next(iter(settings.acme_names()), "localhost")
    return f"https://{name}{'' if port == HTTPS else f':{port}'}/"


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
