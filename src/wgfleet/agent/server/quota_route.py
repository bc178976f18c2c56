"""Route by which the panel says what peers may still use at this node."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wgfleet.agent.interfaces.quotas import QuotaKeeper
from wgfleet.agent.server.http import answer, decode, read_body
from wgfleet.protocol.quota import QuotaUpdate, check_quotas


class QuotaRoute:
    """Handler of `POST /v1/quotas`."""

    def __init__(self, keeper: QuotaKeeper) -> None:
        self._keeper = keeper

    def routes(self) -> Sequence[BaseRoute]:
        """Return the route."""
        return [Route("/v1/quotas", self.update, methods=["POST"])]

    async def update(self, request: Request) -> Response:
        """Keep what is said; the kernel has it within moments."""
        update = decode(await read_body(request), QuotaUpdate)
        check_quotas(update)
        return answer(await self._keeper.update(update))
