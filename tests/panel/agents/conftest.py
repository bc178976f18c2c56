"""A small agent behind real mutual TLS on loopback, in a thread of its own."""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.prompt_server import PromptServer
from wgfleet.panel.agents import tls
from wgfleet.panel.agents.authority import Authority, Identity

NODE = "node1"
SNAPSHOT = (
    b'{"type":"snapshot","status":{"node_id":"node1","version":"1","backend":"kernel","started_at":1,"now":2,'
    b'"certificate_expires_at":3,"scan_interval_s":1,"interfaces":[]},"interfaces":[]}\n'
)
HEARTBEAT = b'{"type":"heartbeat","now":2.0}\n'


def stream_of(now: float, known: str = "features history revoked") -> tuple[bytes, bytes]:
    """The first line and the others of the watch stream of an agent with these features, by its clock."""
    features = b'"interfaces":[],"features":%s}' % json.dumps(known.split()).encode()
    first = SNAPSHOT.replace(b'"interfaces":[]}', features, 1).replace(b'"now":2,', b'"now":%f,' % now)
    return first, HEARTBEAT.replace(b"2.0", b"%f" % now)


@dataclass
class ScriptedAgent:
    """What the agent answers (status, body), what it streams, and what it was asked."""

    answer: tuple[int, bytes] = (200, b"{}")
    stream: list[bytes | float] = field(default_factory=list)  # a number waits that many s
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    refused: tuple[int, bytes] | None = None
    port: int = 0
    certificate: str = ""

    async def handle(self, request: Request) -> Response:
        assert request.client
        self.connections.add((request.client.host, request.client.port))
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        self.headers.append(request.headers)
        self.requests.append((request.method, target, await request.body()))
        if self.refused is not None:
            return Response(self.refused[1], status_code=self.refused[0], media_type="application/problem+json")
        if request.url.path == "/v1/watch":
            return StreamingResponse(self._chunks(), media_type="application/x-ndjson")
        return Response(self.answer[1], status_code=self.answer[0], media_type="application/json")

    async def _chunks(self) -> AsyncIterator[bytes]:
        for item in self.stream:
            if isinstance(item, bytes):
                yield item
            else:
                await asyncio.sleep(item)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create("test", time.time())


@pytest.fixture(scope="session")
def panel_context(authority: Authority) -> ssl.SSLContext:
    return tls.client_context(authority.certificate_pem, authority.issue_panel_client(time.time()))


@contextlib.contextmanager
def serve(agent: ScriptedAgent, identity: Identity, client_ca: Authority) -> Iterator[None]:
    """Run `agent` with `identity`, for clients whose certificate `client_ca` issued."""
    context, agent.certificate = tls.server_context(identity), identity.certificate
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=client_ca.certificate_pem)
    app = Starlette(routes=[Route("/{path:path}", agent.handle, methods=["GET", "PUT", "POST", "DELETE"])])
    config = uvicorn.Config(app, lifespan="off", log_level="critical", ssl_context_factory=lambda *_: context)
    with socket.create_server(("127.0.0.1", 0)) as listener, PromptServer(config).served(listener) as agent.port:
        yield


@pytest.fixture
def agent(authority: Authority) -> Iterator[ScriptedAgent]:
    """The agent of node `node1`."""
    scripted = ScriptedAgent()
    identity = authority.issue_server([f"{NODE}.node.wgfleet.internal"], [], time.time())
    with serve(scripted, identity, authority):
        yield scripted
