"""Errands about certificates: an agent gets a new one in time, and hears which ones of panels it has to refuse."""

import threading
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from wgfleet.panel import clock
from wgfleet.panel.agents.authorities import Authorities, Certified
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.errors import PermanentError
from wgfleet.panel.reconcile.agents import clock_check
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.agents.errands import Errand
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import certificates
from wgfleet.panel.services.fleet import node_agents, nodes, revocations
from wgfleet.panel.store import Store
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.features import Feature
from wgfleet.protocol.reasons import Reason


class RevokedList(NamedTuple):
    """A signed list (PEM) of `length` certificates. `number`: of the newest revocation on it."""

    crl: str
    number: int
    length: int


class CertificateErrands:
    """Does them over connections that others keep up; `connections` are all of them, whose clocks are compared."""

    def __init__(
        self, store: Store, authorities: Authorities, days: int, connections: Mapping[str, AgentConnection]
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._days = days
        self._connections = connections
        self._lock = threading.Lock()
        self._signed: dict[str, RevokedList] = {}  # by the fingerprint of the CA that signed

    async def renew(self, connection: AgentConnection) -> str:
        """Give an agent a new certificate."""
        clock_check.check(clock_check.panel_ahead_s(self._connections.values()))
        clock_check.check(connection.panel_ahead_s)
        allowed = connection.client.keys
        csr = await connection.client.request_certificate()
        shown = connection.client.shown_key
        try:
            renewal = await in_thread(self._issue, connection.node_id, csr)
        except FieldError as error:
            raise PermanentError(Reason("the agent's request for one cannot be used: {error}", error=error)) from None
        # Both are accepted until the agent is known to have the new one, whatever ends before that.
        keys = await in_thread(self._renewing, connection.node_id, renewal.issued, allowed, shown)
        connection.client.accept_keys(keys)
        await connection.client.install_certificate(renewal.certificate, renewal.ca)
        await in_thread(self._renewed, connection.node_id, renewal)
        return "certificate renewed"

    def _issue(self, node_id: str, csr: str) -> Certified:
        """Certify an agent by the CA that its next step asks for."""
        with self._store.read() as tx:
            state, node = self._authorities.read(tx), nodes.get(tx, node_id)
            trusts = state.wanted(node.trusts)
        return state.certify(csr, node_id, trusts, clock.now(), self._days)

    def errands(self, connection: AgentConnection, revoked: int | None) -> list[Errand]:
        """Return the errand that tells an agent of the revocation with this number, where it does not know of it."""
        if revoked is None or revoked <= connection.refuses or Feature.REVOKED not in connection.features:
            return []
        tell = partial(self.tell_revoked, connection, revoked)
        return [Errand(f"revocation {revoked}", revoked, tell, light=True)]

    async def tell_revoked(self, connection: AgentConnection, number: int) -> str:
        """Have an agent refuse all certificates of panels that were revoked up to this number, and later ones."""
        told = await in_thread(self._list, connection.node_id, number)
        await connection.client.revoke(told.crl)
        connection.refuses = told.number
        await in_thread(self._told, connection.node_id, told.number)
        return f"the agent refuses {told.length} revoked certificates of panels"

    def _list(self, node_id: str, number: int) -> RevokedList:
        """Return a list that has the revocation with this number; it is signed once for all agents of a CA."""
        with self._lock:
            with self._store.read() as tx:
                signer = self._authorities.read(tx).caller(nodes.get(tx, node_id).trusts)
                signed = self._signed.get(signer.fingerprint)
                if signed is not None and signed.number >= number:
                    return signed
                newest = max(number, certificates.newest_to_tell(tx) or 0)
                revoked = certificates.to_tell(tx)
            crl = signer.revocation_list(revoked, newest, clock.now())
            signed = self._signed[signer.fingerprint] = RevokedList(crl, newest, len(revoked))
            return signed

    def _told(self, node_id: str, number: int) -> None:
        with self._store.write() as tx:
            revocations.told(tx, node_id, number)

    def _renewing(self, node_id: str, issued: Issued, allowed: frozenset[str], shown: str | None) -> list[str]:
        with self._store.write() as tx:
            return node_agents.renewing(tx, node_id, issued, allowed, shown)

    def _renewed(self, node_id: str, renewal: Certified) -> None:
        with self._store.write() as tx:
            node_agents.renewed(tx, node_id, renewal.issued, renewal.trusts, renewal.rotation_id)
