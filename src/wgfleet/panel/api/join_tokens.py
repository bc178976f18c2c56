"""`/api/nodes/{node}/join-token`: one-time tokens with which agents join, and the command that uses one."""

import ipaddress
import shlex
from datetime import datetime
from urllib.parse import urlsplit

from fastapi import Request, status
from pydantic import Field

from wgfleet.panel.api.auth import NodeAdmin
from wgfleet.panel.api.models import Reference, Said, View, utc
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.services import web_certificates
from wgfleet.panel.services.fleet import join_tokens, nodes
from wgfleet.protocol.addresses import is_loopback
from wgfleet.protocol.messages import AGENT_PORT
from wgfleet.protocol.reasons import Reason, template

WITNESS_DIR = "/var/lib/wgfleet-witness"  # of its unit, as which it runs without privileges

_HERE_ALONE = template(
    "{url} leads to the machine that this line is run on, so it works on the panel's own alone; for another machine "
    "have the panel listen at an address that it reaches (`wgfleet panel run --listen ADDRESS:8443`), or set "
    "public_url, and take a new line"
)

router = subject_router("nodes")


class JoinTokenView(View):
    """A token that lets one agent join as the node, once. It is never shown again."""

    token: str
    expires_at: datetime
    command: str = Field(description="The command to run on the node, as root; a witness's as its own user.")
    warning: Said | None = Field(description="null: as far as is known, the command reaches this panel from elsewhere.")


@router.post("/api/nodes/{node}/join-token", status_code=status.HTTP_201_CREATED, summary="Create a join token")
def create_join_token(panel: ThePanel, caller: NodeAdmin, node: Reference, request: Request) -> JoinTokenView:
    """Unused earlier tokens of the node become invalid."""
    lifetime_s = panel.settings.enrollment.token_lifetime_s
    with panel.store.write() as tx:
        row = nodes.get(tx, node)
        token, expires_at = join_tokens.create(tx, caller.actor, row, lifetime_s)
        port, witness = row.agent_port, row.witness
        url = _url(panel, str(request.base_url).rstrip("/"))
        public = web_certificates.covers(tx, urlsplit(url).hostname or "")
        fingerprint = None if public else panel.authorities.read(tx).newest.fingerprint
    command = _join_command(panel, url, token, fingerprint)
    if port != AGENT_PORT:  # it says where it will be, and that counts
        command += f" --port {port}"
    if witness:
        command += f" --state-dir {WITNESS_DIR}"
    warning = Reason(_HERE_ALONE, url=url) if is_loopback(urlsplit(url).hostname or "") else None
    return JoinTokenView(token=token, expires_at=utc(expires_at), command=command, warning=warning)


def _https_url(panel: Panel) -> str | None:
    """Return the first https listener that others can reach as it stands."""
    for listener in panel.settings.listen:
        if listener.secure and listener.port and not ipaddress.ip_address(listener.host).is_unspecified:
            return str(listener)
    return None


def _url(panel: Panel, called_at: str) -> str:
    """Return where an agent reaches this panel. `called_at`: where the caller does."""
    return panel.settings.public_url or (
        called_at if called_at.startswith("https://") else _https_url(panel) or called_at
    )


def _join_command(panel: Panel, url: str, token: str, fingerprint: str | None) -> str:
    """Form the command that joins an agent to this panel. `fingerprint`: of the CA to check it by, None: any."""
    words = ["wgfleet", "agent", "enroll", "--panel", url, "--token", token]
    # A certificate from elsewhere is checked as usual; that of our own CA against the CA's fingerprint. Where no
    # listener speaks TLS, a proxy does, with a certificate of its own.
    own = panel.settings.tls.certificate_file is None and any(listener.secure for listener in panel.settings.listen)
    if url.startswith("https://") and own and fingerprint is not None:
        words += ["--ca-fingerprint", fingerprint]
    return shlex.join(words)
