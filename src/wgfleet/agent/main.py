"""The agent as a process: its parts put together, run until it is stopped. Stopping it touches no interface."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

import structlog
import uvicorn
from starlette.applications import Starlette
from uvicorn.server import ServerState

from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.isolation import IsolationWatch
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.supervisor import InterfaceSupervisor
from wgfleet.agent.interfaces.watch_board import WatchBoard
from wgfleet.agent.kernel.machine import Machine, check_root, detect
from wgfleet.agent.server.certificate_routes import CertificateRoutes
from wgfleet.agent.server.listener import PanelConnection
from wgfleet.agent.server.manual_routes import ManualRoutes
from wgfleet.agent.server.panel_contact import PanelContact
from wgfleet.agent.server.probe_route import ProbeRoute
from wgfleet.agent.server.routes import AgentRoutes
from wgfleet.agent.settings import AgentSettings
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.agent.state.journal import Journal
from wgfleet.agent.state.ledger import Ledger
from wgfleet.probing.prober import Prober
from wgfleet.process import raise_open_files_limit

BACKLOG = 128  # also how often the loop tries to accept in one go, with a traceback each where no file can be opened

_log = structlog.get_logger()


def run(settings: AgentSettings) -> None:
    """Run the agent in this process; raise ValueError or KernelError, saying what to do, if it cannot start."""
    _log_as_json()
    raise_open_files_limit()
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
    prober, contact = Prober(), PanelContact()

    def make_isolation_watch(
        reconciler: InterfaceReconciler, floating: FloatingAddresses, board: WatchBoard
    ) -> IsolationWatch:
        def watched() -> bool:
            return board.readers > 0 and contact.is_near()

        return IsolationWatch(reconciler, floating, prober, contact.heard_at, watched)

    supervisor = InterfaceSupervisor(
        Machine(backend, state.root),
        Journal(state.desired),
        ledger,
        make_isolation_watch,
        interval_s=settings.interval_s,
        repair=settings.repair,
    )
    certificates = CertificateRoutes(state, me.node_id)
    more = [*certificates.routes(), *ProbeRoute(supervisor, prober).routes(), *ManualRoutes(supervisor).routes()]
    app = AgentRoutes(supervisor, me.node_id, lambda: certificates.expires_at).app(more)

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await supervisor.start()
    port = settings.port or me.port
    make_connection = _connections(app, certificates, supervisor.board, contact)
    server = await asyncio.get_running_loop().create_server(make_connection, settings.listen, port, backlog=BACKLOG)
    _log.info("agent.ready", node_id=me.node_id, listen=settings.listen, port=port, backend=backend)
    _notify("READY=1")
    try:
        await _until_stopped(supervisor, stop)
    finally:
        server.close()
        prober.close()
    _log.info("agent.stopped")  # its interfaces stay up


async def _until_stopped(supervisor: InterfaceSupervisor, stop: asyncio.Event) -> None:
    """Run the supervisor until `stop` is set; raise what broke it, since it never ends by itself."""
    work = asyncio.create_task(supervisor.run())
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
    _notify("STOPPING=1")
    if work in done:
        work.result()


def _connections(
    app: Starlette, certificates: CertificateRoutes, board: WatchBoard, contact: PanelContact
) -> Callable[[], PanelConnection]:
    """Return what makes a connection's protocol: TLS by the current certificate, then HTTP of `app`."""
    config = uvicorn.Config(
        app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, date_header=False, timeout_keep_alive=75,
    )  # fmt: skip
    config.load()
    shared = ServerState()
    pending: set[asyncio.Task[None]] = set()

    def refused(remote: str, reason: str) -> None:
        _log.warning("client.refused", remote=remote, reason=reason)
        board.refused(remote, reason)

    def make_protocol() -> asyncio.Protocol:
        return config.http_protocol_class(config=config, server_state=shared, app_state={})  # type: ignore[call-arg]

    return lambda: PanelConnection(certificates.context, make_protocol, refused, contact.admitted, pending)


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
