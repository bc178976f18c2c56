"""The panel's listening sockets, in plain HTTP or TLS, one server behind all of them; and the certificate they show.

Owns sockets and TLS of the panel's own API, but not the application that is served there.
"""

import asyncio
import functools
import ipaddress
import logging
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import structlog
import uvicorn
from starlette.types import ASGIApp

from wgfleet.doors.sockets import lengthen_queue, shrink_tls_buffers
from wgfleet.panel import clock, machine
from wgfleet.panel.agents import tls
from wgfleet.panel.agents.authority import Authority, renewal_due
from wgfleet.panel.door import VISIT, Door, FoldedWarnings, Visit, fold_accept_errors
from wgfleet.panel.errors import PanelError, PermanentError
from wgfleet.panel.settings import Listener, Settings
from wgfleet.panel.settings.door import DoorSettings
from wgfleet.protocol.addresses import parse_address
from wgfleet.protocol.domains import parse_domain

SHUTDOWN_S = 3  # event streams never end by themselves
RENEWAL_CHECK_S = 2  # also after how long another CA's certificate is shown
# Also how often the event loop tries to accept in one go, each with a traceback where no file can be opened.
BACKLOG = 128
SEND_BUFFER = 128 * 1024  # bytes, which the kernel doubles; of itself it takes 4 MB of what nobody fetches

_FOLDED = FoldedWarnings()

Sockets = Sequence[tuple[Listener, socket.socket]]

log = structlog.get_logger()


class ListenError(PermanentError):
    """A socket cannot be opened, or the certificate files cannot be used."""


def open_sockets(listeners: Sequence[Listener]) -> Sockets:
    """Bind a socket for each listener, or raise `ListenError`. Port 0 becomes the port that was given."""
    opened: list[tuple[Listener, socket.socket]] = []
    for listener in listeners:
        family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
        # asyncio turns Nagle's algorithm off on sockets that name their protocol only. With it, each answer on a
        # connection that is kept waits for the caller's delayed ACK, 40 ms.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((listener.host, listener.port))
        except OSError as error:
            bound.close()
            for _, other in opened:
                other.close()
            raise ListenError(f"cannot listen on {listener}: {error.strerror}; choose another with --listen") from None
        opened.append((listener._replace(port=bound.getsockname()[1]), bound))
    return opened


class ServerCertificate:
    """What TLS listeners show: the administrator's files, or a certificate of our CA; kept fresh by `refresh`."""

    def __init__(self, settings: Settings) -> None:
        """Read the files, where there are some; raise `ListenError` when they do not fit."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._settings = settings
        self._newest: Callable[[], Authority] | None = None
        self._shown: Authority | None = None
        self._expires_at = 0.0
        self._files: tuple[Path, Path] | None = None
        self._read_at: tuple[int, ...] = ()
        if settings.tls.certificate_file and settings.tls.key_file:
            self._files = (settings.tls.certificate_file, settings.tls.key_file)
            self._read_files(self._files)

    @property
    def own(self) -> bool:
        """Whether our own CA issues it."""
        return self._files is None

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of our CA, where that issues it."""
        return None if self._shown is None else self._shown.fingerprint

    def issue_from(self, newest: Callable[[], Authority]) -> None:
        """Have the CA that `newest` returns issue the certificate, now and whenever it is due or there is another CA.

        Without effect where files are given.
        """
        if self.own:
            self._newest = newest
            self._issue(newest())

    async def refresh(self) -> None:
        """Renew or read again what is due; new connections show it. A failure is logged, and the old one stays."""
        if self._newest is not None:
            try:
                newest = await asyncio.to_thread(self._newest)
            except PanelError as error:
                log.warning("tls.certificate_kept", error=str(error))
                return
            due = renewal_due(self._expires_at, clock.now(), self._settings.certificates.server_days)
            if due or newest.fingerprint != self.fingerprint:
                self._issue(newest)
        elif self._files is not None:
            try:
                if self._times(self._files) != self._read_at:
                    self._read_files(self._files)
                    log.info("tls.certificate_read", file=str(self._files[0]))
            except (ListenError, OSError) as error:
                log.warning("tls.certificate_kept", error=str(error))

    def _issue(self, authority: Authority) -> None:
        names, addresses = certificate_subjects(self._settings)
        days = self._settings.certificates.server_days
        identity = authority.issue_server(names, addresses, clock.now(), days)
        tls.use_identity(self.context, identity)
        self._shown, self._expires_at = authority, identity.expires_at

    def _read_files(self, files: tuple[Path, Path]) -> None:
        self._read_at = self._times(files)
        try:
            # Into a context of its own first: half a renewal must not leave the real one without its key.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*files, password="")
            self.context.load_cert_chain(*files, password="")
        except (OSError, ValueError) as error:
            raise ListenError(f"{files[0]} and {files[1]} cannot be used as certificate and key: {error}") from None

    @staticmethod
    def _times(files: tuple[Path, Path]) -> tuple[int, ...]:
        return tuple(file.stat().st_mtime_ns for file in files)


def certificate_subjects(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the DNS names and the addresses under which this panel can be reached, for its certificate."""
    texts = [*settings.tls.names, machine.host_name(), "localhost"]
    if settings.public_url and (public := urlsplit(settings.public_url).hostname):
        texts.insert(0, public)
    for listener in settings.listen:
        wildcard = ipaddress.ip_address(listener.host).is_unspecified
        texts += machine.outbound_addresses() if wildcard else [listener.host]
    texts += [*settings.panel_node.endpoint_addresses, "127.0.0.1", "::1"]
    names: dict[str, None] = {}
    addresses: dict[str, None] = {}
    for text in texts:
        try:
            addresses[parse_address(text.strip("[]"), "name")] = None
        except ValueError:
            names[parse_domain(text, "name")] = None
    return list(names), list(addresses)


class PanelServer(uvicorn.Server):
    """One uvicorn server behind several sockets. `opened` is awaited once they can be reached."""

    def __init__(
        self,
        app: ASGIApp,
        sockets: Sockets,
        certificate: ServerCertificate,
        opened: Callable[[], Awaitable[None]],
        door: DoorSettings | None = None,
    ) -> None:
        self._door = Door(door or DoorSettings())
        proxies = self._door.settings.trusted_proxies
        super().__init__(
            uvicorn.Config(
                self._door.around(app),
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
                timeout_graceful_shutdown=SHUTDOWN_S,
                callback_notify=certificate.refresh,
                timeout_notify=RENEWAL_CHECK_S,
            )
        )
        self._sockets = sockets
        self._certificate = certificate
        self._opened = opened

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then open the doors: nobody is let in before it is ready."""
        await super().startup(sockets=sockets or [])
        loop = asyncio.get_running_loop()
        fold_accept_errors(loop)
        shrink_tls_buffers()
        logging.getLogger("uvicorn.error").addFilter(_FOLDED)  # once, however often: it is the same
        for listener, bound in self._sockets:
            context = self._certificate.context if listener.secure else None
            visit = functools.partial(self._door.visit, self._protocol, context)
            server = await loop.create_server(visit, sock=bound, backlog=BACKLOG)
            lengthen_queue(server)
            self.servers.append(server)
        await self._opened()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGINT and SIGTERM; unlike uvicorn's own, do not die of them again when all is closed."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _protocol(self, visit: Visit) -> asyncio.Protocol:
        protocol = self.config.http_protocol_class
        state = {**self.lifespan.state, VISIT: visit}
        return protocol(config=self.config, server_state=self.server_state, app_state=state)  # type: ignore[call-arg]
