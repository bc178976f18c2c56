"""`/api/enroll` and `/api/ca.pem`: how a new agent comes to its certificate. Neither needs an API key."""

from fastapi import APIRouter, Request, Response, status
from pydantic import Field

from wgfleet.panel import clock
from wgfleet.panel.agents.authority import CSR_LIMIT, certificate_expires_at
from wgfleet.panel.api.models import Body, Port, View
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.services.fleet import join_tokens, nodes
from wgfleet.protocol.messages import AGENT_PORT

router = APIRouter(tags=["enrolment"])


class EnrollBody(Body):
    """What a new agent sends: protocol's `EnrollRequest`."""

    token: str = Field(max_length=128, description="The join token.")
    csr: str = Field(max_length=CSR_LIMIT, description="A certificate request (PKCS#10, PEM); its names are not used.")
    port: Port = Field(default=AGENT_PORT, description="Where the agent will listen.")


class EnrolledView(View):
    """What a new agent gets: protocol's `Enrolled`."""

    node_id: str
    certificate: str = Field(description="Its certificate (PEM), for a server only.")
    ca: str = Field(description="The panel's CA (PEM).")


@router.post("/api/enroll", status_code=status.HTTP_201_CREATED, summary="Join as a node")
def enroll(panel: ThePanel, request: Request, body: EnrollBody) -> EnrolledView:
    """Use the join token up, unless the certificate request is refused. Refused tokens are audited, and bounded."""
    days = panel.settings.certificates.agent_days
    remote = request.client.host if request.client else "unknown"
    panel.attempts.check(remote)
    try:
        with panel.store.write() as tx:
            node = join_tokens.redeem(tx, body.token)
            certificate = panel.authority.issue_agent(body.csr, node.id, clock.now(), days)
            expires_at = certificate_expires_at(certificate)
            nodes.enrolled(tx, node, agent_port=body.port, certificate_expires_at=expires_at)
    except join_tokens.TokenRefused as refused:
        panel.attempts.failed(remote)
        with panel.store.write() as tx:
            join_tokens.record_refusal(tx, refused, remote)
        raise
    return EnrolledView(node_id=node.id, certificate=certificate, ca=panel.authority.certificate_pem)


@router.get(
    "/api/ca.pem",
    summary="Download the panel's CA certificate",
    response_class=Response,
    responses={200: {"content": {"application/x-pem-file": {"schema": {"type": "string"}}}, "description": "PEM."}},
)
def download_ca(panel: ThePanel) -> Response:
    return Response(panel.authority.certificate_pem, media_type="application/x-pem-file")
