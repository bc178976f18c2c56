"""Gets the certificate that browsers accept, and another before it is over."""

import math
import ssl

import structlog

from wgfleet.panel import acme_client, clock, faultpoints
from wgfleet.panel.acme_client import AccountBinding, AcmeAccount, AcmeError, RenewalTime
from wgfleet.panel.agents.authority import Identity
from wgfleet.panel.agents.tls import use_identity
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_own_thread, in_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.web_certificate_proofs import proof_for
from wgfleet.panel.services import web_certificates
from wgfleet.panel.services.web_certificates import CertificateNeed, ShownCertificate
from wgfleet.panel.settings import Settings
from wgfleet.panel.settings.acme import AcmeSettings
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

EVERY_S = 5.0
ASK_AGAIN_S, LONGEST_S = 6 * 3600.0, 86400.0  # RFC 9773, section 4.3
UNTIL_ISSUED_S = 60.0
CLEAR_AGAIN_S = 60.0
log = structlog.get_logger()


class WebCertificateWatch:
    """Runs until its task is cancelled. One that is killed on the way asks again, by the same account."""

    def __init__(self, store: Store, vault: Vault, settings: Settings, outlook: Outlook, publisher: Publisher) -> None:
        self._store = store
        self._vault = vault
        self._settings = settings.acme
        self._names = settings.acme_names()
        self._outlook = outlook
        self._proof = proof_for(settings.acme, store, publisher)
        self._clear_at = 0.0  # what was shown to the CA before a restart may be there still
        self._wanted_at: float | None = None  # when the CA would have the certificate replaced
        self._ask_at = 0.0

    @property
    def wanted(self) -> bool:
        """Whether the settings name a CA."""
        return self._settings.directory is not None

    async def run(self) -> None:
        """Look, again and again."""
        await keep_looking(self.look, EVERY_S, "web_certificate.not_looked_at")

    async def look(self) -> None:
        """Get a certificate if one is due."""
        if self._outlook.superseded is not None or self._settings.directory is None:
            return
        need = await in_thread(self._next_need, self._settings.directory)
        if need is None and clock.now() >= self._clear_at:
            self._clear_at = math.inf if await in_own_thread(self._proof.clear) else clock.now() + CLEAR_AGAIN_S
        if need is not None:
            await in_own_thread(self._get, self._settings.directory, need)
        elif clock.now() >= self._ask_at:
            await in_own_thread(self._ask, self._settings.directory)

    def _next_need(self, directory: str) -> CertificateNeed | None:
        with self._store.read() as tx:
            if not web_certificates.is_due(tx, directory, self._names, self._wanted_at):
                return None
        with self._store.write() as tx:
            return web_certificates.next_need(tx, self._vault, directory, self._names, acme_client.new_key())

    def _get(self, directory: str, need: CertificateNeed) -> None:
        account = self._account(directory, need.account_key)
        self._clear_at = 0.0
        try:
            identity = acme_client.get_certificate(account, need.names, self._proof)
            _check(identity)
        except AcmeError as error:
            self._note(need, str(error))
            return
        except (TransientError, PermanentError) as error:  # of the DNS provider
            self._note(need, Reason("the TXT record for the CA cannot be made: {error}", error=error))
            return
        except Exception as error:  # a CA that counts failures is not asked again at once, whatever went wrong here
            self._note(need, Reason("the panel failed on it ({name}); its log says why", name=type(error).__name__))
            raise
        faultpoints.reached("web_certificate.obtained")
        with self._store.write() as tx:
            new = ShownCertificate(frozenset(need.names), identity.certificate, identity.key, identity.expires_at)
            web_certificates.keep(tx, self._vault, new)
        self._wanted_at, self._ask_at = None, 0.0
        log.info("web_certificate.obtained", names=need.names)

    def _ask(self, directory: str) -> None:
        """Ask the CA when it would have the certificate replaced. One that does not say now is asked again later."""
        now = clock.now()
        self._ask_at = now + UNTIL_ISSUED_S
        with self._store.read() as tx:
            chain = web_certificates.issued(tx, directory)
        if chain is None:
            return
        try:
            found = acme_client.ask_when_to_renew(self._account(directory, acme_client.new_key()), chain)
        except AcmeError as error:
            log.info("web_certificate.not_told_when_to_renew", error=str(error))
            found = RenewalTime(self._wanted_at, now + ASK_AGAIN_S)
        self._wanted_at = found.wanted_at
        self._ask_at = min(max(found.ask_at, now + UNTIL_ISSUED_S), now + LONGEST_S)

    def _account(self, directory: str, key: str) -> AcmeAccount:
        return AcmeAccount(directory, key, self._settings.email, self._settings.ca_file, _binding(self._settings))

    def _note(self, need: CertificateNeed, why: str) -> None:
        with self._store.write() as tx:
            wait_s = web_certificates.failed(tx, why, clock.fraction())
        log.warning("web_certificate.not_obtained", names=need.names, error=why, again_in_s=round(wait_s))


def _binding(settings: AcmeSettings) -> AccountBinding | None:
    if settings.eab_key_id is None or settings.eab_hmac_key is None:
        return None
    return AccountBinding(settings.eab_key_id, settings.eab_hmac_key.get_secret_value())


def _check(identity: Identity) -> None:
    try:
        use_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), identity)
    except (ssl.SSLError, OSError) as error:
        raise AcmeError(Reason("what the CA issued cannot be used: {error}", error=error)) from None
