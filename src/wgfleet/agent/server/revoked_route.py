"""Route `PUT /v1/revoked`: the panel tells which certificates of panels are refused from now on."""

import asyncio
from collections.abc import Callable

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wgfleet.agent.server.http import decode, read_body
from wgfleet.agent.state.files import read_file
from wgfleet.agent.state.identity import StateDirectory
from wgfleet.agent.state.revoked import RevokedCertificates
from wgfleet.protocol.messages import Revoked


class RevokedRoute:
    """Handler of the route. `end_refused` cuts off open connections of those that are refused now."""

    def __init__(self, state: StateDirectory, revoked: RevokedCertificates, end_refused: Callable[[], None]) -> None:
        self._state = state
        self._revoked = revoked
        self._end_refused = end_refused

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/v1/revoked", self.put, methods=["PUT"])]

    async def put(self, request: Request) -> Response:
        """`PUT /v1/revoked`: obeyed if the CA has signed it, no matter who brings it."""
        given = decode(await read_body(request), Revoked)
        serials = await asyncio.to_thread(self._read, given.crl)
        if self._revoked.lacks(serials):
            try:
                self._revoked.add(serials)
            except OSError:
                self._end_refused()  # they are refused all the same, until the agent ends
                raise
        return Response(status_code=204, background=BackgroundTask(self._cut_off))

    def _read(self, crl: str) -> dict[str, float]:
        from wgfleet.agent.enrollment.revocations import read_list  # noqa: PLC0415 - 10 MB, needed seldom

        return read_list(crl, read_file(self._state.ca))

    async def _cut_off(self) -> None:
        """Come after the answer: the caller may be one of them."""
        self._end_refused()
