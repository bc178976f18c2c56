"""A start of the panel: how it names itself to agents, and the certificate with which it calls them."""

from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.agents.authorities import Authorities
from wgfleet.panel.agents.authority import Authority, Identity, described
from wgfleet.panel.services import certificates, incarnations
from wgfleet.panel.store import Store
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.vault import Vault
from wgfleet.protocol.panel_name import PanelName


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """A certificate with which this panel calls agents. `id` is that of its row, `issuer` the CA's fingerprint."""

    id: str
    issuer: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class BegunStart:
    """A start: how it names itself to agents, and why it decides nothing (None: it does)."""

    name: PanelName
    superseded: str | None
    certificate: OwnCertificate


def begin(store: Store, vault: Vault, authorities: Authorities, certificate_days: int) -> BegunStart:
    """Begin a start: at each start of the process that decides.

    Nodes are connected to after their rows say that none is: what was written before would be no news, and stay.
    """
    with store.read() as tx:
        authority = authorities.read(tx).current
    identity = authority.issue_panel_client(clock.now(), certificate_days)
    with store.write() as tx:
        incarnation = incarnations.begin(tx)
        node_rows.all_disconnected(tx)
        row = certificates.of_start(tx, incarnation.number, described(identity.certificate))
        name = incarnations.name(tx, vault, incarnation)
        return BegunStart(name, incarnation.refused, OwnCertificate(row.id, authority.fingerprint, identity))


def go_on(store: Store, start: int, authority: Authority, certificate_days: int) -> OwnCertificate:
    """Make a further certificate for a start."""
    identity = authority.issue_panel_client(clock.now(), certificate_days)
    with store.write() as tx:
        row = certificates.of_start(tx, start, described(identity.certificate))
        return OwnCertificate(row.id, authority.fingerprint, identity)
