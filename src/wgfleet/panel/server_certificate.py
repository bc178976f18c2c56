"""The certificate that the panel's TLS listeners show, kept fresh: of files, of our own CA, of a public one."""

import asyncio
import ipaddress
import math
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import structlog

from wgfleet.panel import clock, machine
from wgfleet.panel.agents import tls
from wgfleet.panel.agents.authority import Authority, Identity, renewal_due
from wgfleet.panel.errors import PanelError, PermanentError, Unavailable
from wgfleet.panel.services.web_certificates import ShownCertificate
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import noted_texts, sealed
from wgfleet.panel.store.notes import Notes
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import parse_address
from wgfleet.protocol.domains import parse_domain

log = structlog.get_logger()
_NOTED = "server certificate"


class ListenError(PermanentError):
    """A socket cannot be opened, or the certificate files cannot be used."""


class PublicCertificate:
    """The certificate that browsers accept, of those names that a public CA has issued it for."""

    def __init__(self) -> None:
        self._read: Callable[[], ShownCertificate | None] | None = None
        self._shown: ShownCertificate | None = None
        self._context: ssl.SSLContext | None = None

    @property
    def names(self) -> frozenset[str]:
        """For whom it is shown."""
        return frozenset() if self._shown is None else self._shown.names

    def read_from(self, read: Callable[[], ShownCertificate | None]) -> None:
        """Show what `read` returns, now, and from each `refresh` on."""
        self._read = read
        self._look()

    async def refresh(self) -> None:
        """Look for another. A failure is logged, and what there was is shown."""
        await asyncio.to_thread(self._look)

    def _look(self) -> None:
        if self._read is None:
            return
        try:
            self._show(self._read())
        except (PanelError, PermanentError, ssl.SSLError) as error:
            log.warning("tls.certificate_kept", error=str(error))

    def choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        """Show it to a caller who asks for one of its names (RFC 6066, section 3)."""
        if self._context is not None and (name or "").lower() in self.names:
            connection.context = self._context

    def _show(self, found: ShownCertificate | None) -> None:
        if found == self._shown:
            return
        context = None
        if found is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            tls.use_identity(context, Identity(found.chain, found.key, found.expires_at))
        self._shown, self._context = found, context


class CommonCertificate:
    """A certificate of our CA that several processes show, so that a browser which accepts one knows it again."""

    def __init__(self, notes: Notes, vault: Vault) -> None:
        self._notes, self._vault = notes, vault

    def get(self, authority: Authority, due: Callable[[Identity], bool], issue: Callable[[], Identity]) -> Identity:
        """Return what another process has issued, unless it is due for renewal; else issue it for all.

        Where nothing can be noted, as with a full disk, this process has one of its own.
        """
        try:
            return self._of_all(authority, due, issue)
        except Unavailable as error:
            log.warning("tls.certificate_not_noted", error=str(error))
            return issue()

    def _of_all(self, authority: Authority, due: Callable[[Identity], bool], issue: Callable[[], Identity]) -> Identity:
        with self._notes.changing() as notes:
            text = noted_texts.get(notes, _NOTED, authority.fingerprint, clock.now())
            if text is not None:
                noted = msgspec.json.decode(sealed.unseal_of_browser(self._vault, _NOTED, text), type=Identity)
                if not due(noted):
                    return noted
            issued = issue()
            text = sealed.seal_for_browser(self._vault, _NOTED, msgspec.json.encode(issued).decode())
            noted_texts.put(notes, _NOTED, authority.fingerprint, text, math.inf, most=2)
        return issued


class ServerCertificate:
    """What TLS listeners show: the administrator's files, or a certificate of our CA; kept fresh by `refresh`.

    Those who ask for a name of which a public CA has issued a certificate are shown that.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the files, where there are some; raise `ListenError` when they do not fit."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._public = PublicCertificate()
        self._settings = settings
        self._newest: Callable[[], Authority] | None = None
        self._common: CommonCertificate | None = None
        self._shown: Authority | None = None
        self._expires_at = 0.0
        self._files: tuple[Path, Path] | None = None
        self._read_at: tuple[int, ...] = ()
        if settings.tls.certificate_file and settings.tls.key_file:
            self._files = (settings.tls.certificate_file, settings.tls.key_file)
            self._read_files(self._files)

    @property
    def own(self) -> bool:
        """Whether our own CA issues it."""
        return self._files is None

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of our CA, where that issues it."""
        return None if self._shown is None else self._shown.fingerprint

    @property
    def public_names(self) -> frozenset[str]:
        """Of which names browsers accept it."""
        return self._public.names

    def issue_from(self, newest: Callable[[], Authority], common: CommonCertificate | None = None) -> None:
        """Have the CA that `newest` returns issue the certificate, now and whenever it is due or there is another CA.

        Without effect where files are given. `common`: what other processes have.
        """
        if self.own:
            self._newest, self._common = newest, common
            self._issue(newest())

    def show_also(self, read: Callable[[], ShownCertificate | None]) -> None:
        """Show what `read` returns to those who ask for its names, now and whenever it is another."""
        self._public.read_from(read)
        self.context.sni_callback = self._public.choose

    async def refresh(self) -> None:
        """Renew or read again what is due; new connections show it. A failure is logged, and the old one stays."""
        await self._public.refresh()
        if self._newest is not None:
            try:
                newest = await asyncio.to_thread(self._newest)
            except PanelError as error:
                log.warning("tls.certificate_kept", error=str(error))
                return
            if self._due(self._expires_at) or newest.fingerprint != self.fingerprint:
                self._issue(newest)
        elif self._files is not None:
            try:
                if self._times(self._files) != self._read_at:
                    self._read_files(self._files)
                    log.info("tls.certificate_read", file=str(self._files[0]))
            except (ListenError, OSError) as error:
                log.warning("tls.certificate_kept", error=str(error))

    def _due(self, expires_at: float) -> bool:
        return renewal_due(expires_at, clock.now(), self._settings.certificates.server_days)

    def _issue(self, authority: Authority) -> None:
        names, addresses = certificate_subjects(self._settings)
        days = self._settings.certificates.server_days

        def issue() -> Identity:
            return authority.issue_server(names, addresses, clock.now(), days)

        if self._common is None:
            identity = issue()
        else:
            identity = self._common.get(authority, lambda noted: self._due(noted.expires_at), issue)
        tls.use_identity(self.context, identity)
        self._shown, self._expires_at = authority, identity.expires_at

    def _read_files(self, files: tuple[Path, Path]) -> None:
        self._read_at = self._times(files)
        try:
            # Into a context of its own first: half a renewal must not leave the real one without its key.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*files, password="")
            self.context.load_cert_chain(*files, password="")
        except (OSError, ValueError) as error:
            raise ListenError(f"{files[0]} and {files[1]} cannot be used as certificate and key: {error}") from None

    @staticmethod
    def _times(files: tuple[Path, Path]) -> tuple[int, ...]:
        return tuple(file.stat().st_mtime_ns for file in files)


def certificate_subjects(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the DNS names and the addresses under which this panel can be reached, for its certificate."""
    texts = [*settings.tls.names, machine.host_name(), "localhost"]
    if settings.public_url and (public := urlsplit(settings.public_url).hostname):
        texts.insert(0, public)
    for listener in settings.listen:
        wildcard = ipaddress.ip_address(listener.host).is_unspecified
        texts += machine.outbound_addresses() if wildcard else [listener.host]
    texts += [*settings.panel_node.endpoint_addresses, "127.0.0.1", "::1"]
    names: dict[str, None] = {}
    addresses: dict[str, None] = {}
    for text in texts:
        try:
            addresses[parse_address(text.strip("[]"), "name")] = None
        except ValueError:
            names[parse_domain(text, "name")] = None
    return list(names), list(addresses)
