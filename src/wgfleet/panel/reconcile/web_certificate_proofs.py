"""Proofs for a CA that names are the panel's: answers at their port 80, or TXT records beside them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Protocol

import structlog

from wgfleet.panel import faultpoints
from wgfleet.panel.acme_client import DNS_01, HTTP_01, Proof
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.providers import OutsideZone, TextProvider
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.errors import Invalid, PermanentError, TransientError
from wgfleet.panel.services import web_certificates
from wgfleet.panel.settings.acme import AcmeSettings
from wgfleet.panel.store import Store
from wgfleet.protocol.reasons import Reason

CHALLENGE = "_acme-challenge."
NO_TEXT = "wgfleet-look"
log = structlog.get_logger()


class ClearedProof(Proof, Protocol):
    """A proof that can be taken back."""

    def clear(self) -> bool:
        """Take back what was shown, now or before a restart; whether nothing is left."""


def proof_for(settings: AcmeSettings, store: Store, publisher: Publisher) -> ClearedProof:
    """Return the proof that the settings ask for."""
    return _AtPort80(store) if settings.dns_provider is None else _InDns(store, publisher, settings)


class _AtPort80:
    """Answers that any process of any panel gives, since they are rows; they are forgotten with the certificate."""

    kind = HTTP_01

    def __init__(self, store: Store) -> None:
        self._store = store

    def prepare(self, names: Sequence[str]) -> None:
        """Do nothing: what a CA reaches it alone knows."""

    def show(self, where: str, text: str) -> None:
        with self._store.write() as tx:
            web_certificates.keep_answer(tx, where, text)
        faultpoints.reached("web_certificate.answered")

    def settle(self) -> None:
        """Nothing is to be waited for."""

    def clear(self) -> bool:
        return True


class _InDns:
    """TXT records, put and removed by a DNS provider. Each is noted before it is made."""

    kind = DNS_01

    def __init__(self, store: Store, publisher: Publisher, settings: AcmeSettings) -> None:
        self._store = store
        self._publisher = publisher
        self._settings = settings

    def prepare(self, names: Sequence[str]) -> None:
        """Have the provider remove what is nowhere: most refuse a name at which they could put nothing either."""
        for name in names:
            with _followed(_challenge(name)) as place:
                self._change(_removal(place, NO_TEXT))

    def show(self, where: str, text: str) -> None:
        with _followed(where) as place:
            with self._store.write() as tx:
                web_certificates.keep_text(tx, place, text)
            try:
                self._change(lambda provider: provider.add_text(place, text))
            except PermanentError:  # there is none, so none is to be removed
                with self._store.write() as tx:
                    web_certificates.forget_text(tx, place, text)
                raise
        faultpoints.reached("web_certificate.answered")

    def settle(self) -> None:
        from wgfleet.panel.dns.propagation import NameServers  # noqa: PLC0415 - for the few who have such a proof

        with self._store.read() as tx:
            shown = web_certificates.texts(tx)
        if shown and not NameServers().wait_for_texts(shown, self._settings.dns_wait_s):
            log.info("web_certificate.texts_not_seen", names=[name for name, _ in shown])

    def clear(self) -> bool:
        with self._store.read() as tx:
            left = web_certificates.texts(tx)
        for name, text in left:
            try:
                self._change(_removal(name, text))
            except (TransientError, PermanentError) as error:
                log.warning("web_certificate.text_not_removed", name=name, error=str(error))
                return False
            with self._store.write() as tx:
                web_certificates.forget_text(tx, name, text)
        return True

    def _change(self, change: Callable[[TextProvider], None]) -> None:
        try:
            self._publisher.change_text(self._settings, change)
        except Invalid as error:
            raise PermanentError(Reason("{field}: {error}", field=error.field, error=error)) from None


@contextmanager
def _followed(where: str) -> Iterator[str]:
    """Give the name that a CA is led to from one; say so where the record cannot be made there."""
    from wgfleet.panel.dns.propagation import NameServers  # noqa: PLC0415 - for the few who have such a proof

    place = NameServers().end_of_alias(where)
    try:
        yield place
    except OutsideZone as error:
        raise PermanentError(Reason("{error}; {way_out}", error=error, way_out=_way_out(where, place))) from None


def check_places(settings: AcmeSettings, names: Sequence[str], plugins: DnsPlugins) -> None:
    """Ask the provider, and the DNS for aliases, whether a record for each name could be made; no CA is asked.

    Raises `PermanentError` where it could not, and `TransientError` where nobody can say.
    """
    with closing(plugins.open_for(settings)) as provider:
        for name in names:
            with _followed(_challenge(name)) as place:
                provider.remove_text(place, NO_TEXT)


def _challenge(name: str) -> str:
    return f"{CHALLENGE}{name.removeprefix('*.')}"


def _way_out(where: str, place: str) -> str:
    if place != where:
        return Reason(
            "{where} is an alias (CNAME) of it: set acme.dns_zone to the zone of {place}, or take the alias away",
            where=where,
            place=place,
        )
    return Reason(
        "set acme.dns_zone to the zone of that name, or have {where} be an alias (CNAME) of a name in this one",
        where=where,
    )


def _removal(name: str, text: str) -> Callable[[TextProvider], None]:
    return lambda provider: provider.remove_text(name, text)
