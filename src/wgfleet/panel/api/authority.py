"""`/api/authority`: the private CA by which panel and agents recognize each other, and its replacement."""

from datetime import datetime

from fastapi import status
from pydantic import Field

from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api.auth import Admin, Reader
from wgfleet.panel.api.models import View, utc
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.authorities import AuthorityStep
from wgfleet.panel.services import installation
from wgfleet.panel.services.fleet import authority_rotation
from wgfleet.panel.store import Tx

router = subject_router("certificates")


class AuthorityRotationView(View):
    """A replacement of the CA that is under way."""

    fingerprint: str = Field(description="Of the new CA's certificate (SHA-256).")
    certificate: str = Field(
        description="That of the new CA (PEM): who keeps it beside the old one goes on believing the panel."
    )
    step: AuthorityStep = Field(
        description="`spread`: agents learn to trust the new CA as well; `dropped`: they get certificates of the new "
        "one, and forget the old one. From then on the panel's https listener shows a certificate of the new one."
    )
    step_since: datetime
    waits_for: list[str] = Field(
        description="Names of the nodes whose agents have yet to take the step. Get an agent back that does not "
        "answer, or remove its node, or revoke its certificate: it has to enroll again then."
    )
    requested_by: str
    requested_at: datetime


class AuthorityView(View):
    """The CA of this panel; `rotation` is null while it is not being replaced."""

    fingerprint: str = Field(description="Of its certificate (SHA-256). While it is replaced: of the old one.")
    expires_at: datetime
    departed: list[str] = Field(
        description="Names of deleted nodes whose agents have yet to hear of it. Those that still have not when the "
        "CA has been replaced never will: what they serve, they serve until somebody stops them."
    )
    rotation: AuthorityRotationView | None


def _view(panel: Panel, tx: Tx) -> AuthorityView:
    state, row = panel.authorities.read(tx), authority_rotation.rotation(tx)
    rotation = None
    if row is not None and state.next is not None:
        rotation = AuthorityRotationView(
            fingerprint=state.next.fingerprint,
            certificate=state.next.certificate_pem,
            step=row.step,
            step_since=utc(row.step_since),
            waits_for=[node.name for node in authority_rotation.waits_for(tx, row)],
            requested_by=row.requested_by,
            requested_at=utc(row.requested_at),
        )
    return AuthorityView(
        fingerprint=state.current.fingerprint,
        expires_at=utc(state.current.expires_at),
        departed=[node.name for node in authority_rotation.departed_without(tx)],
        rotation=rotation,
    )


@router.get("/api/authority", summary="Show the CA, and whether it is being replaced")
def show_authority(panel: ThePanel, _caller: Reader) -> AuthorityView:
    with panel.store.read() as tx:
        return _view(panel, tx)


@router.post("/api/authority", status_code=status.HTTP_202_ACCEPTED, summary="Replace the CA")
def rotate_authority(panel: ThePanel, caller: Admin) -> AuthorityView:
    """Make a new CA. No user notices.

    Agents learn to trust the new one as well, then get certificates of it and forget the old one, each step once all
    agents have the one before. When it ends, what the old one certified is refused everywhere: certificates that were
    written to files, connections that were made with them included. Refused (409) while it is under way.
    """
    with panel.store.read() as tx:
        panel_id = installation.panel_id(tx)
    authority = Authority.create(panel_id, clock.now())
    with panel.store.write() as tx:
        made = {"name": authority.name, "certificate": authority.certificate_pem, "key": authority.key_pem}
        authority_rotation.start(tx, panel.vault, caller.actor, **made)
        return _view(panel, tx)
