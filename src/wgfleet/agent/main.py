"""Puts the agent together and runs it until it is told to end. Ending touches no interface."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys

import structlog
import uvicorn
from uvicorn.server import ServerState

from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.isolation import Fence
from wgfleet.agent.interfaces.reconciler import Keeper
from wgfleet.agent.interfaces.supervisor import Loop
from wgfleet.agent.interfaces.watch_board import Board
from wgfleet.agent.kernel.machine import Machine, check_root, detect
from wgfleet.agent.server.certificate_routes import Renewal
from wgfleet.agent.server.listener import Door
from wgfleet.agent.server.manual_routes import Manual
from wgfleet.agent.server.panel_contact import PanelContact
from wgfleet.agent.server.probe_route import Probes
from wgfleet.agent.server.routes import Api
from wgfleet.agent.settings import AgentSettings
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.agent.state.journal import Journal
from wgfleet.agent.state.ledger import Ledger
from wgfleet.probing.prober import Prober

_log = structlog.get_logger()


def run(settings: AgentSettings) -> None:
    """Run the agent in this process. ValueError or KernelError when it cannot start, with the way out."""
    _log_as_json()
    asyncio.run(_run(settings))


async def _run(settings: AgentSettings) -> None:
    check_root()
    state = StateDirectory(settings.state_dir)
    state.make()
    me = state.read_agent()
    state.finish_renewal()
    backend = await detect() if settings.backend == "auto" else settings.backend
    ledger = Ledger(state.ledger)
    ledger.load()
    machine = Machine(backend, state.root)
    prober, contact = Prober(), PanelContact()

    def make_fence(keeper: Keeper, floating: FloatingAddresses, board: Board) -> Fence:
        return Fence(keeper, floating, prober, contact.heard_at, lambda: board.readers > 0 and contact.is_near())

    loop = Loop(
        machine, Journal(state.desired), ledger, make_fence, interval_s=settings.interval_s, repair=settings.repair
    )
    renewal = Renewal(state, me.node_id)
    more = [*renewal.routes(), *Probes(loop, prober).routes(), *Manual(loop).routes()]
    app = Api(loop, me.node_id, lambda: renewal.expires_at).app(more)

    config = uvicorn.Config(
        app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, date_header=False, timeout_keep_alive=75,
    )  # fmt: skip
    config.load()
    shared = ServerState()
    pending: set[asyncio.Task[None]] = set()

    def refused(remote: str, reason: str) -> None:
        _log.warning("caller refused", remote=remote, reason=reason)
        loop.board.refused(remote, reason)

    def make_protocol() -> asyncio.Protocol:
        return config.http_protocol_class(config=config, server_state=shared, app_state={})  # type: ignore[call-arg]

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await loop.start()
    port = settings.port or me.port
    server = await asyncio.get_running_loop().create_server(
        lambda: Door(renewal.context, make_protocol, refused, contact.admitted, pending), settings.listen, port
    )
    _log.info("agent ready", node_id=me.node_id, listen=settings.listen, port=port, backend=backend)
    _notify("READY=1")
    work = asyncio.create_task(loop.run())
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
    _notify("STOPPING=1")
    server.close()
    prober.close()
    if work in done:
        work.result()  # it never ends by itself: this raises what broke it
    _log.info("agent ended; its interfaces go on")


def _log_as_json() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        format='{"logger": "%(name)s", "level": "%(levelname)s", "event": "%(message)s"}', stream=sys.stderr
    )


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), if it started us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect("\0" + address[1:] if address.startswith("@") else address)
        notify.send(state.encode())
