"""The panel's listening sockets, in plain HTTP or TLS, and one server behind all of them.

Owns the sockets of the panel's own API, but not the application that is served there.
"""

import asyncio
import functools
import logging
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from starlette.types import ASGIApp

from wgfleet.doors.sockets import QUEUE, shrink_tls_buffers
from wgfleet.panel.accepting import Entrance
from wgfleet.panel.door import VISIT, Door, FoldedWarnings, MakeHttp, Visit
from wgfleet.panel.request_lengths import OneLength
from wgfleet.panel.request_targets import OriginForm
from wgfleet.panel.server_certificate import ListenError, ServerCertificate
from wgfleet.panel.settings import Listener, Settings
from wgfleet.panel.settings.door import DoorSettings
from wgfleet.panel.siblings import Siblings

SHUTDOWN_S = 3  # event streams never end by themselves
RENEWAL_CHECK_S = 2  # also after how long another CA's certificate is shown
SEND_BUFFER = 128 * 1024  # bytes, which the kernel doubles; of itself it takes 4 MB of what nobody fetches

_IPV6 = Path("/proc/net/if_inet6")  # where the machine has none, it is no error that nobody asks there
_FOLDED = FoldedWarnings()

Sockets = Sequence[tuple[Listener, socket.socket]]


class PlainDoor(NamedTuple):
    """Sockets at which nothing but this application is served, in the clear."""

    sockets: Sockets
    app: ASGIApp


def open_sockets(listeners: Sequence[Listener], option: str = "--listen") -> Sockets:
    """Listen with a socket for each listener, or raise `ListenError`. Port 0 becomes the port that was given.

    Who connects from now on waits until a server accepts. Not listening yet would refuse the CA that a core asks before
    the API has begun, and let a second panel bind the same port.

    `option`: what the listeners are chosen with.
    """
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
            bound.listen(QUEUE)
        except OSError as error:
            bound.close()
            for _, other in opened:
                other.close()
            raise ListenError(f"cannot listen on {listener}: {error.strerror}; choose another with {option}") from None
        opened.append((listener._replace(port=bound.getsockname()[1]), bound))
    return opened


def open_plain_sockets(settings: Settings) -> Sockets:
    """Open the sockets at which a public CA asks, or browsers are sent on to https; as `open_sockets`."""
    asked = settings.acme.directory is not None
    listeners = settings.acme.listens if asked else settings.tls.plain_listen
    anywhere = [each for each in listeners if each.host != "::" or _IPV6.exists()]
    asks = "acme.listen: the CA asks at port 80, and a proxy that has it can pass its path on"
    return open_sockets(anywhere, asks if asked else "tls.plain_listen")


class PanelServer(uvicorn.Server):
    """One uvicorn server behind several sockets. `opened` is awaited once they can be reached."""

    def __init__(
        self,
        app: ASGIApp,
        sockets: Sockets,
        certificate: ServerCertificate,
        opened: Callable[[], Awaitable[None]],
        door: DoorSettings | None = None,
        plain: PlainDoor | None = None,
        siblings: Siblings | None = None,
    ) -> None:
        self._plain = plain
        self._door = Door(door or DoorSettings(), siblings)
        self._entrances: list[Entrance] = []
        proxies = self._door.settings.trusted_proxies
        super().__init__(
            uvicorn.Config(
                OriginForm(self._door.around(OneLength(app))),
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
        shrink_tls_buffers()
        logging.getLogger("uvicorn.error").addFilter(_FOLDED)  # once, however often: it is the same
        for listener, bound in self._sockets:
            self._open(bound, self._protocol, self._certificate.context if listener.secure else None)
        if self._plain is not None:
            for _, bound in self._plain.sockets:
                self._open(bound, self._plain_protocol, None)
        await self._opened()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the doors, then the application."""
        for entrance in self._entrances:
            entrance.close()
        await super().shutdown(sockets=sockets)

    def _open(self, bound: socket.socket, make_http: MakeHttp, context: ssl.SSLContext | None) -> None:
        visit = functools.partial(self._door.visit, make_http, context)
        self._entrances.append(Entrance(bound, visit, self._door.crowd))

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

    def _plain_protocol(self, visit: Visit) -> asyncio.Protocol:
        protocol: Any = self._protocol(visit)
        if self._plain is not None:
            protocol.app = OriginForm(self._door.around(OneLength(self._plain.app)))
        return protocol  # type: ignore[no-any-return]
