"""The panel's server in a thread of a test."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp

from tests.prompt_server import HeedfulServer
from wgfleet.panel.listening import PanelServer, PlainDoor, Sockets
from wgfleet.panel.server_certificate import ServerCertificate
from wgfleet.panel.settings.door import DoorSettings


class ThreadServer(HeedfulServer, PanelServer):
    """A server in a thread of a test, which may not have signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def served(
    app: ASGIApp,
    sockets: Sockets,
    certificate: ServerCertificate,
    door: DoorSettings | None = None,
    plain: PlainDoor | None = None,
) -> Iterator[ThreadServer]:

    async def opened() -> None:
        """Nobody else waits for it."""

    server = ThreadServer(app, sockets, certificate, opened, door, plain)
    with server.running(lambda: asyncio.run(server.serve())):
        yield server
