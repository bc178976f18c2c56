"""Routes about relays: who is relayed here, more, and no more. What that means is `interfaces.relays`' matter."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wgfleet.agent.interfaces.admission import RefusedError, not_found
from wgfleet.agent.interfaces.relays import Relays
from wgfleet.agent.interfaces.supervisor import InterfaceSupervisor
from wgfleet.agent.server.http import answer, decode, interface_name, read_body
from wgfleet.protocol.relay import RelayEnd, RelayProlongation, RelayRequest


class RelayRoutes:
    """Handlers of the routes."""

    def __init__(self, supervisor: InterfaceSupervisor, relays: Relays) -> None:
        self._supervisor = supervisor
        self._relays = relays

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/relays", self.all, methods=["GET"]),
            Route("/v1/wg/{name}/relay", self.status, methods=["GET"]),
            Route("/v1/wg/{name}/relay", self.add, methods=["POST"]),
            Route("/v1/wg/{name}/relay/end", self.end, methods=["POST"]),
            Route("/v1/wg/{name}/relay/prolong", self.prolong, methods=["POST"]),
        ]

    async def all(self, _request: Request) -> Response:
        """`GET /v1/relays`."""
        return answer(self._relays.all())

    async def status(self, request: Request) -> Response:
        """`GET /v1/wg/{name}/relay`."""
        return answer(self._relays.status(interface_name(request)))

    async def add(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/relay`: of an interface that this agent keeps for that config, or relayed already."""
        name = interface_name(request)
        wanted = decode(await read_body(request), RelayRequest)
        port = self._relays.port_of(name, wanted)
        if port is None:
            kept = self._supervisor.reconciler(name)
            if kept.config_id != wanted.config_id:
                raise RefusedError(not_found(name))
            port = kept.desired.settings.listen_port
        return answer(await asyncio.shield(self._relays.add(name, port, wanted)))

    async def end(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/relay/end`."""
        name = interface_name(request)
        ended = decode(await read_body(request), RelayEnd)
        return answer(await asyncio.shield(self._relays.end(name, ended.peers)))

    async def prolong(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/relay/prolong`: of those that are relayed; the others are passed over."""
        name = interface_name(request)
        wanted = decode(await read_body(request), RelayProlongation)
        return answer(await asyncio.shield(self._relays.prolong(name, wanted)))
