"""Routes that renew the agent's certificate, driven by the panel: a request for a new key, then its certificate."""

import ssl

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wgfleet.agent.server.http import answer, decode, read_body
from wgfleet.agent.server.listener import make_context
from wgfleet.agent.state.identity import StateDirectory, expires_at
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import Certificate, CertificateRequest


def _nobody() -> None:
    """Stands for a listener that has no connections yet."""


class CertificateRoutes:
    """Handlers of `/v1/certificate`. New connections use a new certificate at once; open ones go on.

    `context` is what new connections use. Each certificate gets a new one: an existing context can be given another CA
    to trust, but none can be taken from it. `end_refused` cuts off open connections of a CA that is trusted no more.
    """

    def __init__(self, state: StateDirectory, node_id: NodeId) -> None:
        self.context = make_context(state.certificate, state.key, state.ca)
        self._state = state
        self._node_id = node_id
        self.end_refused = _nobody
        self._key: bytes | None = None  # of the last request; it reaches the disk only with its certificate
        self.expires_at = expires_at(state.certificate)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/certificate/request", self.request, methods=["POST"]),
            Route("/v1/certificate", self.install, methods=["PUT"]),
        ]

    async def request(self, request: Request) -> Response:
        """`POST /v1/certificate/request`."""
        from wgfleet.agent.enrollment.certificates import make_request  # noqa: PLC0415 - 10 MB, needed once in months

        del request
        self._key, csr = make_request(self._node_id)
        return answer(CertificateRequest(csr))

    async def install(self, request: Request) -> Response:
        """`PUT /v1/certificate`: checked before the old one is replaced."""
        from wgfleet.agent.enrollment.certificates import check_certificate  # noqa: PLC0415 - 10 MB, needed once in months

        given = decode(await read_body(request), Certificate)
        if self._key is None:
            raise FieldError("certificate", "there is no open request; POST /v1/certificate/request first")
        check_certificate(key=self._key, certificate=given.certificate, node_id=self._node_id)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=given.ca)
        except ssl.SSLError:
            raise FieldError("ca", "is not a list of certificates in PEM form") from None
        self._state.write_certificate(key=self._key, certificate=given.certificate.encode(), ca=given.ca.encode())
        self.context = make_context(self._state.certificate, self._state.key, self._state.ca)
        self._key = None
        self.expires_at = expires_at(self._state.certificate)
        return Response(status_code=204, background=BackgroundTask(self._cut_off))

    async def _cut_off(self) -> None:
        """Come after the answer: the caller may be one of them."""
        self.end_refused()
