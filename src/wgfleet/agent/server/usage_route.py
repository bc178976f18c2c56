"""Route by which the panel collects usage: each call acknowledges the batch before, and gets the next one."""

import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wgfleet.agent.interfaces.usage_writer import UsageWriter
from wgfleet.agent.interfaces.watch_board import WatchBoard
from wgfleet.agent.server.http import answer, decode, read_body
from wgfleet.protocol.features import COUNTERS_HEADER, held_back_s
from wgfleet.protocol.usage import UsageRequest


class UsageRoute:
    """Handler of `POST /v1/usage`. By the way the panel says for how long the stream may hold back counters."""

    def __init__(self, usage: UsageWriter, board: WatchBoard) -> None:
        self._usage = usage
        self._board = board

    def routes(self) -> Sequence[BaseRoute]:
        """Return the route."""
        return [Route("/v1/usage", self.collect, methods=["POST"])]

    async def collect(self, request: Request) -> Response:
        """Answer with what the panel has not acknowledged."""
        if (value := request.headers.get(COUNTERS_HEADER)) is not None:
            self._board.hold_back(held_back_s(value))
        wanted = decode(await read_body(request), UsageRequest)
        return answer(await self._usage.batch(wanted, time.time()))
