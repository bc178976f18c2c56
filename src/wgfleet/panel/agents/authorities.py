"""The CAs that count at present: one, or two while it is being replaced."""

from dataclasses import dataclass
from typing import NamedTuple

from wgfleet.panel.agents.authority import Authority, described
from wgfleet.panel.domain import authorities
from wgfleet.panel.domain.authorities import AuthorityStep, Trust
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import installation as installation_rows
from wgfleet.panel.store.tables import AuthorityRotation, CertificateAuthority
from wgfleet.panel.vault import Vault


class Certified(NamedTuple):
    """A certificate (PEM) for an agent, and the CAs (PEM) that it is given to trust, in which rotation of ours."""

    certificate: str
    issued: Issued
    ca: str
    trusts: Trust
    rotation_id: str | None


@dataclass(frozen=True, slots=True)
class AuthorityState:
    """The present CA, and the one that is to replace it, how far that is, and the id of that rotation (None: none)."""

    current: Authority
    next: Authority | None = None
    step: AuthorityStep | None = None
    rotation_id: str | None = None

    @property
    def trusted(self) -> tuple[Authority, ...]:
        """Return those whose certificates an agent may show."""
        return (self.current,) if self.next is None else (self.current, self.next)

    @property
    def newest(self) -> Authority:
        """Return the one by which people and new agents recognize the panel."""
        return self.next if self.next is not None and self.step is AuthorityStep.DROPPED else self.current

    @property
    def trust_of_newcomers(self) -> Trust:
        """Return what an agent trusts that enrolls now."""
        return self.wanted(Trust.BOTH)

    def wanted(self, has: Trust) -> Trust:
        """Return what an agent is to trust next."""
        return authorities.wanted(self.step, has)

    def certify(self, csr: str, node_id: str, trust: Trust, now: float, days: int) -> Certified:
        """Sign the request of an agent that is to trust these; raise `FieldError("csr", ...)` on a bad one."""
        certificate = self.issuer(trust).issue_agent(csr, node_id, now, days)
        return Certified(certificate, described(certificate), self.given(trust), trust, self.rotation_id)

    def issuer(self, trust: Trust) -> Authority:
        """Return the CA that certifies an agent which trusts these."""
        return self.next if self.next is not None and trust is Trust.NEXT else self.current

    def given(self, trust: Trust) -> str:
        """Return the CAs that such an agent is given to trust, as PEM."""
        if self.next is None or trust is Trust.CURRENT:
            return self.current.certificate_pem
        return self.next.certificate_pem if trust is Trust.NEXT else pem_of(self.trusted)

    def caller(self, trust: Trust) -> Authority:
        """Return the CA whose certificate the panel shows to such an agent; it fits also if that is one step ahead."""
        return self.current if self.next is None or trust is Trust.CURRENT else self.next


class Authorities:
    """Reads the CAs that count from their rows, and keeps the keys that it has opened."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._known: tuple[installation_rows.StandingCertificates, AuthorityState] | None = None

    def read(self, tx: Tx) -> AuthorityState:
        """Return what counts as of a transaction."""
        standing, known = installation_rows.standing(tx), self._known
        if known is None or known[0] != standing:
            known = self._known = standing, self._read(tx)
        return known[1]

    def _read(self, tx: Tx) -> AuthorityState:
        row, rotation = installation_rows.authority(tx), installation_rows.rotation(tx)
        if row is None:
            raise LookupError("this database has no CA: the panel that made it has not finished its first start")
        current = self._open(row, CertificateAuthority.key_sealed)
        if rotation is None:
            return AuthorityState(current)
        following = self._open(rotation, AuthorityRotation.key_sealed)
        return AuthorityState(current, following, rotation.step, rotation.id)

    def _open(self, row: CertificateAuthority | AuthorityRotation, column: sealed.Column) -> Authority:
        opened = () if self._known is None else self._known[1].trusted
        known = next((each for each in opened if each.certificate_pem == row.certificate), None)
        return known or Authority.load(row.certificate, sealed.unseal(self._vault, column, row))


def pem_of(several: tuple[Authority, ...]) -> str:
    """Return the certificates of several CAs as one text."""
    return "".join(each.certificate_pem for each in several)
