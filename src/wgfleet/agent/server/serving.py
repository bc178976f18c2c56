"""The agent's listener, put together: its identity, who is let in, certificates and revocations.

Without a usable identity it waits for an enrollment.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence

import structlog
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from wgfleet.agent.interfaces.watch_board import WatchBoard
from wgfleet.agent.server.certificate_routes import CertificateRoutes
from wgfleet.agent.server.http_connections import HttpConnections
from wgfleet.agent.server.listener import AgentDoor
from wgfleet.agent.server.log_route import LogRoute
from wgfleet.agent.server.panel_contact import PanelContact
from wgfleet.agent.server.panel_gate import PanelGate
from wgfleet.agent.server.revoked_route import RevokedRoute
from wgfleet.agent.settings import EVERYWHERE, AgentSettings
from wgfleet.agent.state.files import DamagedFileError, DamagedFiles
from wgfleet.agent.state.identity import AgentFile, StateDirectory
from wgfleet.agent.state.panel_sources import PanelSources
from wgfleet.agent.state.panels import ObeyedPanels
from wgfleet.agent.state.revoked import RevokedCertificates
from wgfleet.doors.sockets import lengthen_queue, shrink_tls_buffers
from wgfleet.process import tell_systemd
from wgfleet.protocol.ids import NodeId

BACKLOG = 128  # also how often the loop tries to accept in one go, with a traceback each where no file can be opened
_IDENTITY_EVERY_S = 5.0  # between two looks for an identity that can be used
_log = structlog.get_logger()

MakeApp = Callable[[NodeId, Callable[[], float], Sequence[BaseRoute]], Starlette]
"""Makes the application of this node's id, when its certificate expires, and the routes that every agent has."""


async def serve(
    settings: AgentSettings,
    state: StateDirectory,
    me: AgentFile | None,
    damaged: DamagedFiles,
    board: WatchBoard,
    contact: PanelContact,
    make_app: MakeApp,
    backend: str,
) -> None:
    """Answer the panel until cancelled."""
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
    door = _door(certificates, board, contact, sources, revoked)
    certificates.end_refused = door.end_refused
    common = [
        *RevokedRoute(state, revoked, door.end_refused).routes(),
        *certificates.routes(),
        *LogRoute().routes(),
    ]
    app = make_app(me.node_id, lambda: certificates.expires_at, common)
    port = settings.port or me.port
    connections = HttpConnections(PanelGate(app, panels))
    door.make_protocol = connections.make
    shrink_tls_buffers()
    server = await listen_on(settings.listen, port, door.connection)
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
