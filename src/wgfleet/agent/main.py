"""The agent as a process: its parts put together, run until it is stopped. Stopping it touches no interface."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine

import structlog

from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.isolation import IsolationWatch
from wgfleet.agent.interfaces.mute import MuteWatch
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.supervisor import InterfaceSupervisor
from wgfleet.agent.interfaces.tasks import Watches
from wgfleet.agent.interfaces.watch_board import WatchBoard
from wgfleet.agent.interfaces.way_out import WayOut
from wgfleet.agent.interfaces.witnesses import Witnesses
from wgfleet.agent.kernel.machine import Machine, check_root, detect
from wgfleet.agent.server.certificate_routes import CertificateRoutes
from wgfleet.agent.server.http_connections import HttpConnections
from wgfleet.agent.server.listener import AgentDoor
from wgfleet.agent.server.manual_routes import ManualRoutes
from wgfleet.agent.server.panel_contact import PanelContact
from wgfleet.agent.server.panel_gate import PanelGate
from wgfleet.agent.server.probe_route import ProbeRoute
from wgfleet.agent.server.revoked_route import RevokedRoute
from wgfleet.agent.server.routes import AgentRoutes
from wgfleet.agent.settings import EVERYWHERE, AgentSettings
from wgfleet.agent.state.confirmed import ConfirmedFiles
from wgfleet.agent.state.files import DamagedFileError, DamagedFiles
from wgfleet.agent.state.identity import AgentFile, StateDirectory
from wgfleet.agent.state.journal import Journal
from wgfleet.agent.state.ledger import Ledger
from wgfleet.agent.state.panel_sources import PanelSources
from wgfleet.agent.state.panels import ObeyedPanels
from wgfleet.agent.state.revoked import RevokedCertificates
from wgfleet.agent.state.time_alone import TimeAlone
from wgfleet.doors.sockets import lengthen_queue, shrink_tls_buffers
from wgfleet.probing.prober import Prober
from wgfleet.process import raise_open_files_limit, tell_systemd, watchdog_every_s
from wgfleet.protocol.messages import AGENT_PORT

BACKLOG = 128  # also how often the loop tries to accept in one go, with a traceback each where no file can be opened
_STUCK_S = 300.0  # a scan whose commands all run into their time-outs takes less
_IDENTITY_EVERY_S = 5.0  # between two looks for an identity that can be used
_log = structlog.get_logger()


def run(settings: AgentSettings) -> None:
    """Run the agent in this process; raise ValueError or KernelError, saying what to do, if it cannot start."""
    _log_as_json()
    raise_open_files_limit()
    asyncio.run(_run(settings))


async def _run(settings: AgentSettings) -> None:
    check_root()
    damaged = DamagedFiles()
    state = StateDirectory(settings.state_dir)
    state.make(damaged)
    state.finish_renewal(damaged)
    me = state.recover_agent(damaged)
    backend = await detect() if settings.backend == "auto" else settings.backend
    ledger = Ledger(state.ledger, damaged)
    ledger.load()
    prober, contact = Prober(), PanelContact()
    alone = TimeAlone(state.time_alone, damaged, contact.heard_at, settings.down_after_days * 86400)
    alone.load()

    def make_watches(reconciler: InterfaceReconciler, floating: FloatingAddresses, board: WatchBoard) -> Watches:
        def watched() -> bool:
            return board.readers > 0 and contact.is_near()

        witnesses = Witnesses(prober)
        isolation = IsolationWatch(reconciler, floating, witnesses, contact.heard_at, watched)
        return isolation, MuteWatch(reconciler, witnesses, contact.heard_at, watched)

    def readers() -> int:
        return supervisor.board.readers

    supervisor = InterfaceSupervisor(
        Machine(backend, state.root, settings.port or (AGENT_PORT if me is None else me.port)),
        Journal(state.desired, damaged),
        ledger,
        make_watches,
        interval_s=settings.interval_s,
        repair=settings.repair,
        way_out=WayOut(
            ConfirmedFiles(state.desired, damaged),
            contact,
            lambda: readers() > 0 and contact.is_near(),
            settings.confirm_s,
        ),
        kept_down=lambda: alone.too_long,
        panel_reads_s=lambda: supervisor.board.read_for_s if contact.is_near() else 0.0,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await supervisor.start()
    try:
        await _until_first(
            supervisor.run(),
            stop.wait(),
            _serve(settings, state, me, supervisor, damaged, prober, contact, alone),
            _report_life(supervisor),
            alone.run(supervisor.look_again),
        )
    finally:
        prober.close()
    _log.info("agent.stopped")  # its interfaces stay up


async def _until_first(*works: Coroutine[None, None, object]) -> None:
    """Run all until one ends; raise what broke it, since none but the wait for a signal ends by itself."""
    tasks = [asyncio.create_task(work) for work in works]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tell_systemd("STOPPING=1")
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for each in done:
        each.result()


async def _report_life(supervisor: InterfaceSupervisor) -> None:
    """Tell systemd's watchdog again and again that the agent works, as long as it does look at its interfaces.

    One that hangs is killed and started again; its interfaces stay up meanwhile.
    """
    every_s = watchdog_every_s()
    while every_s > 0:
        if supervisor.stuck_for_s < _STUCK_S:
            tell_systemd("WATCHDOG=1")
        await asyncio.sleep(every_s)
    await asyncio.Event().wait()


async def _serve(
    settings: AgentSettings,
    state: StateDirectory,
    me: AgentFile | None,
    supervisor: InterfaceSupervisor,
    damaged: DamagedFiles,
    prober: Prober,
    contact: PanelContact,
    alone: TimeAlone,
) -> None:
    """Answer the panel until cancelled. Without a usable identity, keep the interfaces and wait for an enrollment."""
    while me is None or (certificates := _certificates(state, me, damaged)) is None:
        tell_systemd("READY=1")
        await asyncio.sleep(_IDENTITY_EVERY_S)
        with contextlib.suppress(ValueError):
            me = state.read_agent()
    panels = ObeyedPanels(state.panels, damaged)
    panels.load()
    sources = PanelSources(state.panel_sources, damaged)
    sources.load()
    revoked = RevokedCertificates(state.revoked, damaged)
    revoked.load()
    door = _door(certificates, supervisor.board, contact, sources, revoked)
    certificates.end_refused = door.end_refused
    more = [
        *RevokedRoute(state, revoked, door.end_refused).routes(),
        *certificates.routes(),
        *ProbeRoute(supervisor, prober).routes(),
        *ManualRoutes(supervisor).routes(),
    ]
    routes = AgentRoutes(
        supervisor, me.node_id, lambda: certificates.expires_at, lambda: (*damaged.notes, *alone.notes)
    )
    port = settings.port or me.port
    connections = HttpConnections(PanelGate(routes.app(more), panels))
    door.make_protocol = connections.make
    shrink_tls_buffers()
    server = await listen_on(settings.listen, port, door.connection)
    backend = supervisor.machine.backend
    _log.info("agent.ready", node_id=me.node_id, listen=settings.listen, port=port, backend=backend)
    tell_systemd("READY=1")
    try:
        await asyncio.Event().wait()
    finally:
        server.close()
        await connections.end()


async def listen_on(address: str, port: int, connection: Callable[[], asyncio.BaseProtocol]) -> asyncio.Server:
    """Listen on an address of this machine, or everywhere; raise ValueError, saying what to do, if that cannot be."""
    host = None if address == EVERYWHERE else address
    try:
        server = await asyncio.get_running_loop().create_server(connection, host, port, backlog=BACKLOG)
    except OSError as error:
        raise ValueError(
            f"cannot listen on port {port} of {address} ({os.strerror(error.errno or 0)}): end what listens there, or "
            "choose another port"
        ) from None
    lengthen_queue(server)
    return server


def _certificates(state: StateDirectory, me: AgentFile, damaged: DamagedFiles) -> CertificateRoutes | None:
    try:
        state.check_tls()
        return CertificateRoutes(state, me.node_id)
    except (DamagedFileError, OSError, ValueError, IndexError) as error:  # `ssl.SSLError` is an OSError
        damaged.note(f"the certificate or its key in {state.root} cannot be used ({error}); enroll the agent again")
        return None


def _door(
    certificates: CertificateRoutes,
    board: WatchBoard,
    contact: PanelContact,
    sources: PanelSources,
    revoked: RevokedCertificates,
) -> AgentDoor:
    """Return what lets the panel in, by the current certificate, and tells of others; without what it speaks then."""

    def refused(remote: str, reason: str, count: int) -> None:
        _log.warning("client.refused", remote=remote, reason=reason, count=count)
        board.refused(remote, reason, count)

    return AgentDoor(
        lambda: certificates.context, asyncio.Protocol, refused, contact.admitted, sources, revoked.objection
    )


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
