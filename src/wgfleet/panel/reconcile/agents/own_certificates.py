"""The certificates with which this panel calls agents: one, or two while its CA is being replaced."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeGuard

import structlog

from wgfleet.panel import clock
from wgfleet.panel.agents.authorities import Authorities, AuthorityState, pem_of
from wgfleet.panel.agents.authority import Authority, renewal_due
from wgfleet.panel.agents.tls import AgentTls, client_context, use_identity
from wgfleet.panel.domain.authorities import Trust
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.agents.panel_start import BegunStart, OwnCertificate, go_on
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import certificates
from wgfleet.panel.store import Store, Tx

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Line:
    """What connections are opened with: a certificate of ours, and the CAs (fingerprints) that agents may be of.

    Another object where one that is open must not go on. A renewed certificate is no reason, as it is shown from the
    next connection on; nor is a CA that has gone: by then, all agents are known by their keys.
    """

    tls: AgentTls
    certificate: OwnCertificate
    trusted: frozenset[str]


class OwnCertificates:
    """Issues them when they are due, or were revoked. The methods are called in the event loop."""

    def __init__(self, store: Store, authorities: Authorities, days: int, start: BegunStart) -> None:
        self._store = store
        self._authorities = authorities
        self._days = days
        self._start = start.name.number
        self._first = start.certificate
        self._lines: dict[str, Line] = {}
        self._turn = asyncio.Lock()

    def read(self, tx: Tx) -> tuple[AuthorityState, frozenset[str]]:
        """Return the CAs that count, and which of our certificates in use were revoked, as of a transaction."""
        used = [line.certificate.id for line in self._lines.values()] or [self._first.id]
        return self._authorities.read(tx), certificates.revoked(tx, used)

    async def line(self, state: AuthorityState, trust: Trust, revoked: Collection[str]) -> Line:
        """Return what an agent that trusts these CAs is called with; none of the revoked certificates (ids) is used."""
        issuer = state.caller(trust)

        def fits(line: Line | None) -> TypeGuard[Line]:
            return line is not None and line.certificate.id not in revoked

        if not fits(line := self._lines.get(issuer.fingerprint)):
            async with self._turn:
                if not fits(line := self._lines.get(issuer.fingerprint)):
                    before = self._first if line is None else line.certificate
                    certificate = await self._certificate(issuer, before, revoked)
                    tls = client_context(pem_of(state.trusted), certificate.identity)
                    line = Line(tls, certificate, frozenset(each.fingerprint for each in state.trusted))
                    self._lines[issuer.fingerprint] = line
        for gone in self._lines.keys() - {each.fingerprint for each in state.trusted}:
            del self._lines[gone]
        for each in state.trusted:
            if each.fingerprint not in line.trusted:
                line.tls.load_verify_locations(cadata=each.certificate_pem)
                line.trusted |= {each.fingerprint}
        return line

    async def renew_due(self) -> None:
        """Issue again what is due; connections use it from their next request on."""
        async with self._turn:
            for issuer, line in list(self._lines.items()):
                if renewal_due(line.certificate.identity.expires_at, clock.now(), self._days):
                    await self._renew(issuer, line)

    async def _renew(self, issuer: str, line: Line) -> None:
        try:
            renewed = await in_thread(self._issue, issuer)
        except PanelError as error:
            log.warning("panel.certificate_not_renewed", error=str(error))
            return
        if renewed is None:  # that CA has been replaced
            del self._lines[issuer]
            return
        line.certificate = renewed
        use_identity(line.tls, renewed.identity)

    async def _certificate(self, issuer: Authority, before: OwnCertificate, revoked: Collection[str]) -> OwnCertificate:
        if before.issuer == issuer.fingerprint and before.id not in revoked:
            return before
        certificate = await in_thread(go_on, self._store, self._start, issuer, self._days)
        log.info("panel.certificate_replaced", certificate=before.id, replaced_by=certificate.id)
        return certificate

    def _issue(self, issuer: str) -> OwnCertificate | None:
        with self._store.read() as tx:
            found = [each for each in self._authorities.read(tx).trusted if each.fingerprint == issuer]
        # One that is not listed could not be revoked, so none is used.
        return go_on(self._store, self._start, found[0], self._days) if found else None
