"""`/api/enroll` and `/api/ca.pem`: how a new agent gets its certificate. Neither needs an API key."""

from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, Request, Response, status
from fastapi.responses import JSONResponse
from msgspec import Struct

from wgfleet.doors.strangers import source_of
from wgfleet.panel import clock, origin
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.services import installation
from wgfleet.panel.services.fleet import join_tokens, node_agents
from wgfleet.protocol.desired import field_error
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import Enrolled, EnrollRequest

router = subject_router("enrollment")


def _schema(message: type[Struct]) -> dict[str, Any]:
    schema: dict[str, Any] = msgspec.json.schema(message)["$defs"][message.__name__]
    return schema


def _request(body: Annotated[dict[str, Any], Body()]) -> EnrollRequest:
    try:
        return msgspec.convert(body, EnrollRequest)
    except msgspec.ValidationError as error:
        raise field_error(error) from None


@router.post(
    "/api/enroll",
    status_code=status.HTTP_201_CREATED,
    summary="Join as a node",
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": _schema(EnrollRequest)}}}},
    responses={
        201: {"description": "The node's identity.", "content": {"application/json": {"schema": _schema(Enrolled)}}}
    },
)
def enroll(panel: ThePanel, request: Request, message: Annotated[EnrollRequest, Depends(_request)]) -> JSONResponse:
    """Exchange a join token for a certificate.

    The token is used up, unless the certificate request is refused. Refused tokens are audited and rate limited.
    """
    days = panel.settings.certificates.agent_days
    remote = origin.of(request.scope)
    source = source_of(remote)
    panel.token_attempts.check(source)
    try:
        with panel.store.read() as tx:
            join_tokens.look(tx, message.token)
        with panel.store.write() as tx:
            node = join_tokens.redeem(tx, message.token)
            installation.lock_authority(tx)
            state = panel.authorities.read(tx)
            made = state.certify(message.csr, node.id, state.trust_of_newcomers, clock.now(), days)
            node_agents.enrolled(
                tx, node, agent_port=message.port, issued=made.issued, trusts=made.trusts, came_from=remote
            )
    except join_tokens.TokenRefused as refused:
        panel.token_attempts.failed(source)
        panel.refusals.token_refused(panel.store, remote, refused)
        raise
    enrolled = Enrolled(
        NodeId(node.id), certificate=made.certificate, ca=made.ca, witness=node.witness, node_name=node.name
    )
    return JSONResponse(msgspec.to_builtins(enrolled), status.HTTP_201_CREATED)


@router.get(
    "/api/ca.pem",
    summary="Download the panel's CA certificate",
    response_class=Response,
    responses={200: {"content": {"application/x-pem-file": {"schema": {"type": "string"}}}, "description": "PEM."}},
)
def download_ca(panel: ThePanel) -> Response:
    """While the CA is replaced: the one that the panel's https listener is certified by."""
    with panel.store.read() as tx:
        newest = panel.authorities.read(tx).newest
    return Response(newest.certificate_pem, media_type="application/x-pem-file")
