"""The doors of an agent with no interfaces behind them, on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from wgfleet.agent.enrollment.certificates import make_request
from wgfleet.agent.server import http
from wgfleet.agent.server.certificate_routes import CertificateRoutes
from wgfleet.agent.server.http_connections import HttpConnections
from wgfleet.agent.server.listener import AgentDoor
from wgfleet.agent.server.panel_gate import PanelGate
from wgfleet.agent.server.revoked_route import RevokedRoute
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.agent.state.panel_sources import PanelSources
from wgfleet.agent.state.panels import ObeyedPanels
from wgfleet.agent.state.revoked import RevokedCertificates
from wgfleet.panel.agents.authority import Authority, Identity, agent_server_name
from wgfleet.panel.agents.tls import client_context
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import NodeId

NODE = "0" * 32


@dataclass
class Agent:
    """What of an agent listens, with no interfaces behind it."""

    authority: Authority
    state: StateDirectory
    port: int
    refused: list[str]
    name: dict[str, str]

    def client(self, identity: Identity) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{self.port}",
            verify=client_context(self.authority.certificate_pem, identity),
            trust_env=False,
        )

    async def asks(self, identity: Identity) -> bool:
        """Tell whether a new connection is let in."""
        async with self.client(identity) as client:
            try:
                return (await client.get("/v1/status", extensions=self.name)).status_code == 200
            except httpx.TransportError:
                return False


@asynccontextmanager
async def listening(
    folder: Path, authority: Authority, node_id: str = NODE, first_line: bytes = b"{}\n", other_lines: bytes = b"{}\n"
) -> AsyncIterator[Agent]:
    """Run the doors of an agent, as `wgfleet.agent.main` puts them together; its watch stream has these lines."""
    state = StateDirectory(folder)
    if not state.key.exists():
        key, request = make_request("x")
        certificate = authority.issue_agent(request, node_id, time.time())
        state.make()
        state.write_certificate(
            key=key, certificate=certificate.encode(), ca=authority.certificate_pem.encode()
        )  # fmt: skip
    certificates = CertificateRoutes(state, NodeId(node_id))
    revoked, refused = RevokedCertificates(state.revoked, DamagedFiles()), list[str]()
    revoked.load()
    admitted: list[asyncio.Transport] = []
    door = AgentDoor(
        lambda: certificates.context,
        asyncio.Protocol,
        lambda _remote, why, _count: refused.append(why),
        admitted.append,
        PanelSources(state.panel_sources, DamagedFiles()),
        revoked.objection,
    )

    async def status(_: Request) -> Response:
        return PlainTextResponse("fine")

    async def lines() -> AsyncIterator[bytes]:
        yield first_line
        while True:
            yield other_lines
            await asyncio.sleep(0.05)

    async def watch(_: Request) -> Response:
        return StreamingResponse(lines())

    certificates.end_refused = door.end_refused
    routes = [*RevokedRoute(state, revoked, door.end_refused).routes(), *certificates.routes()]
    handlers: Any = {FieldError: http.field_error, OSError: http.os_error}
    app = Starlette(
        routes=[*routes, Route("/v1/status", status), Route("/v1/watch", watch)], exception_handlers=handlers
    )
    connections = HttpConnections(PanelGate(app, ObeyedPanels(state.panels, DamagedFiles())))
    door.make_protocol = connections.make
    server = await asyncio.get_running_loop().create_server(door.connection, "127.0.0.1", 0)
    async with server:
        try:
            yield Agent(
                authority,
                state,
                server.sockets[0].getsockname()[1],
                refused,
                {"sni_hostname": agent_server_name(node_id)},
            )
        finally:
            await connections.end()
            # Who hung up may not have been noticed yet; a transport must not outlive its loop.
            for each in (each for each in admitted if not each.is_closing()):
                each.abort()
            await asyncio.sleep(0.1)
