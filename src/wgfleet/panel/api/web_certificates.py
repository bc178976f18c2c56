"""`/api/web-certificate`: the certificate that browsers accept, from a public CA, and another try."""

from datetime import datetime

from pydantic import Field

from wgfleet.panel.api.auth import Admin, Reader
from wgfleet.panel.api.models import Said, View, utc
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import web_certificates
from wgfleet.panel.store import Tx
from wgfleet.protocol.reasons import Reason

router = subject_router("certificates")


class WebCertificateView(View):
    """The certificate that browsers accept; `directory` is null where the settings name no CA for it."""

    directory: str | None = Field(description="The CA's ACME directory.")
    wanted: list[str] = Field(description="Names that the settings want in it.")
    names: list[str] = Field(description="Names that are in it. Who calls by another one is shown that of our own CA.")
    obtained_at: datetime | None
    expires_at: datetime | None
    failures: int = Field(description="Tries in a row that have failed.")
    error: Said | None = Field(description="Why the last try failed, in the words of the CA where it has some.")
    next_at: datetime | None = Field(description="When there is another try, if the last one failed.")


def web_certificate(tx: Tx, panel: Panel) -> WebCertificateView:
    """Return what is known of it."""
    directory = panel.settings.acme.directory
    found = web_certificates.state(tx) if directory is not None else None
    return WebCertificateView(
        directory=directory,
        wanted=list(panel.settings.acme_names()),
        names=[] if found is None else list(found.names),
        obtained_at=utc(found.obtained_at) if found else None,
        expires_at=utc(found.expires_at) if found else None,
        failures=found.failures if found else 0,
        error=found.error if found else None,
        next_at=utc(found.next_at) if found else None,
    )


@router.get("/api/web-certificate", summary="Show the certificate that browsers accept")
def show_web_certificate(panel: ThePanel, _caller: Reader) -> WebCertificateView:
    with panel.store.read() as tx:
        return web_certificate(tx, panel)


@router.post("/api/web-certificate/retry", summary="Ask the CA for a certificate now, after a failure")
def retry_web_certificate(panel: ThePanel, caller: Admin) -> WebCertificateView:
    """Within 5 s. A CA takes few failures an hour: first put right what the last one was about."""
    with panel.store.write() as tx:
        if not web_certificates.try_now(tx, caller.actor):
            raise Conflict(Reason("the last try has not failed, and there is nothing to repeat"))
        return web_certificate(tx, panel)
