"""Routes about open TCP connections of peers who move. Which there are, and how they end, is `flow_watch`'s matter."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.server.http import answer, decode, interface_name, read_body
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.open_flows import CarriedFlows, EndedFlows, FlowQuestion


class FlowRoutes:
    """Handlers of the routes. `reconciler` returns that of an interface, or refuses."""

    def __init__(self, reconciler: Callable[[InterfaceName], InterfaceReconciler]) -> None:
        self._reconciler = reconciler

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/wg/{name}/flows", self.listing, methods=["GET"]),
            Route("/v1/wg/{name}/flows", self.carried, methods=["POST"]),
            Route("/v1/wg/{name}/flows/end", self.end, methods=["POST"]),
        ]

    async def listing(self, request: Request) -> Response:
        """`GET /v1/wg/{name}/flows`: of all users, for the panel to keep in memory in case the node dies."""
        return answer(await self._reconciler(interface_name(request)).backbone.open_flows.listing())

    async def carried(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/flows`: of peers that have moved, so the panel names their networks."""
        watch = self._reconciler(interface_name(request)).backbone.open_flows
        question = decode(await read_body(request), FlowQuestion)
        return answer(CarriedFlows(await watch.carried(question.networks)))

    async def end(self, request: Request) -> Response:
        """`POST /v1/wg/{name}/flows/end`: of peers that the interface has; others are passed over."""
        reconciler = self._reconciler(interface_name(request))
        ended = decode(await read_body(request), EndedFlows)
        for key, flows in ended.flows.items():
            peer = reconciler.desired.peers.get(key)
            if peer is not None:
                reconciler.backbone.open_flows.brought(peer.allowed_ips, flows)
        return Response(status_code=204)
