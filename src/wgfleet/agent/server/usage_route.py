"""Route by which the panel collects usage: each call acknowledges the batch before, and gets the next one."""

import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wgfleet.agent.interfaces.usage import UsageMeter
from wgfleet.agent.server.http import answer, decode, read_body
from wgfleet.protocol.usage import UsageRequest


class UsageRoute:
    """Handler of `POST /v1/usage`."""

    def __init__(self, meter: UsageMeter) -> None:
        self._meter = meter

    def routes(self) -> Sequence[BaseRoute]:
        """Return the route."""
        return [Route("/v1/usage", self.collect, methods=["POST"])]

    async def collect(self, request: Request) -> Response:
        """Answer with what the panel has not acknowledged."""
        wanted = decode(await read_body(request), UsageRequest)
        return answer(self._meter.batch(wanted, time.time()))
