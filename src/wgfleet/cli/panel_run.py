"""`wgfleet panel run` as processes: a parent, the core and those of the API."""

import asyncio
import functools
import multiprocessing
import os
import sys
from contextlib import AsyncExitStack

import typer

from wgfleet.cli.panel_greeting import login_line, plain_address_hint, private_address_hint, show_listeners, show_set_up
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
from wgfleet.panel.settings import Settings
from wgfleet.panel.siblings import Siblings
from wgfleet.panel.store import CONNECTIONS
from wgfleet.panel.tokens import digest

API_NICENESS = 5  # where processors are short, the core comes first
MAX_HOST = 40
HTTPS = 443


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
                    show_set_up(self._settings.data_dir, f"{line.split()[2]}/set-up/administrator#{self._set_up}")
                for hint in (private_address_hint(listeners, self._settings), plain_address_hint(self._settings)):
                    if hint is not None:
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
