"""The panel's server in a thread of a test."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp

from wgfleet.panel.listening import PanelServer, PlainDoor, Sockets
from wgfleet.panel.server_certificate import ServerCertificate
from wgfleet.panel.settings.door import DoorSettings


class ThreadServer(PanelServer):
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
    ready = threading.Event()

    async def opened() -> None:
        ready.set()

    server = ThreadServer(app, sockets, certificate, opened, door, plain)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    assert ready.wait(60)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join()
