"""`/api/certificates`: what the panel's CA has issued to agents and panels, and revoking it."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import Field

from wgfleet.panel.api.auth import Admin, Reader
from wgfleet.panel.api.models import After, Limit, Page, Reference, ReferenceFilter, Said, View, page, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.certificates import CertificateKind, Telling
from wgfleet.panel.services import certificates
from wgfleet.panel.services.fleet import nodes, revocations
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import IssuedCertificate

router = subject_router("certificates")


class CertificateView(View):
    """A certificate of the panel's CA, without anything secret."""

    id: str
    kind: CertificateKind = Field(
        description="`agent`: answers as a node's agent; `panel`: a start of the panel calls agents with it; `client`: "
        "the same, written to files by `wgfleet panel client-certificate`."
    )
    serial: str | None = Field(description="Serial number, in hex; null: issued by a release that did not keep it.")
    key_digest: str = Field(description="SHA-256 of its SubjectPublicKeyInfo, in hex.")
    node_id: str | None
    node_name: str | None = Field(description="The node's name when it was issued; null: it is not an agent's.")
    panel_start: int | None = Field(description="Which start of the panel calls with it.")
    issuer: str | None = Field(description="Name of the CA; null: issued by a release that did not keep it.")
    issued_by: str = Field(examples=["node:fra1"])
    issued_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = Field(description="Since when it is refused: revoked, or replaced by another.")
    revoked_by: str | None
    in_use: bool | None = Field(
        description="Whether an agent or the panel works with it at present; null: nobody knows, it is in files."
    )


class AcceptanceView(View):
    """An agent that still accepts a revoked certificate."""

    node: str = Field(description="Name of the node.")
    telling: Telling
    reason: Said
    until: datetime | None = Field(description="Null: until the agent hears of it, which is tried again and again.")


class CertificateDetails(CertificateView):
    """A certificate, with what its revocation ends."""

    revoking_ends: str | None = Field(description="What revoking it would end, in words; null: it is refused already.")
    accepted_by: list[AcceptanceView] = Field(
        description="Agents that still accept it although it is revoked; empty once all have been told."
    )


def _view(row: IssuedCertificate, used: frozenset[str]) -> CertificateView:
    return CertificateView(
        id=row.id,
        kind=row.kind,
        serial=row.serial,
        key_digest=row.key_digest,
        node_id=row.node_id,
        node_name=row.node_name,
        panel_start=row.panel_start,
        issuer=row.issuer,
        issued_by=row.issued_by,
        issued_at=utc(row.issued_at),
        expires_at=utc(row.expires_at),
        revoked_at=utc(row.revoked_at),
        revoked_by=row.revoked_by,
        in_use=None if row.kind is CertificateKind.CLIENT else row.id in used,
    )


def _details(tx: Tx, row: IssuedCertificate) -> CertificateDetails:
    accepted = [
        AcceptanceView(node=each.node, telling=each.telling, reason=each.reason, until=utc(each.until))
        for each in revocations.accepted_by(tx, row)
    ]
    ends = revocations.ends(tx, row) if row.revoked_at is None else None
    view = _view(row, revocations.used(tx, [row]))
    return CertificateDetails(**view.model_dump(), revoking_ends=ends, accepted_by=accepted)


@router.get("/api/certificates", summary="List certificates")
def list_certificates(
    panel: ThePanel,
    _caller: Reader,
    *,
    kind: Annotated[CertificateKind | None, Query(description="Only certificates of this kind.")] = None,
    node: ReferenceFilter = None,
    valid: Annotated[bool, Query(description="Only those that are neither revoked nor expired.")] = False,
    after: After = None,
    limit: Limit = 100,
) -> Page[CertificateView]:
    """In the order of issue. Certificates of deleted nodes are found by the node's id."""
    with panel.store.read() as tx:
        node_id = None if node is None else nodes.resolve(tx, node)
        rows = certificates.page(tx, after, limit + 1, kind=kind, node_id=node_id, valid=valid)
        used = revocations.used(tx, rows)
        return page(rows, limit, lambda rows: [_view(row, used) for row in rows])


@router.get("/api/certificates/{certificate}", summary="Show a certificate")
def show_certificate(panel: ThePanel, _caller: Reader, certificate: Reference) -> CertificateDetails:
    """Says what revoking it would end, and of a revoked one, which agents have yet to be told."""
    with panel.store.read() as tx:
        return _details(tx, certificates.get(tx, certificate))


@router.delete("/api/certificates/{certificate}", summary="Revoke a certificate")
def revoke_certificate(panel: ThePanel, caller: Admin, certificate: Reference) -> CertificateDetails:
    """Have it refused from now on, for good; `certificate` is an id or a serial number.

    Agents that are connected refuse a panel's within a second, and cut off its open connections. The running panel
    makes itself a new one first. An agent of 0.1.0 cannot be told: see `accepted_by`. A node whose agent's certificate
    was revoked is not managed until it has enrolled again.
    """
    with panel.store.write() as tx:
        row = certificates.get(tx, certificate)
        revocations.revoke(tx, caller.actor, row)
        return _details(tx, row)
