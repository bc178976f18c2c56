"""DNS providers as plugins: those installed, how one is opened for a zone, and what it may connect to."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import structlog

from wgfleet.panel.destinations import Destinations
from wgfleet.panel.dns.providers import (
    ENTRY_POINTS,
    Account,
    Capabilities,
    Changes,
    Finding,
    Provider,
    ProviderType,
    Record,
    TextProvider,
)
from wgfleet.panel.errors import Invalid, PermanentError
from wgfleet.panel.plugins import Plugins
from wgfleet.panel.settings import Settings
from wgfleet.panel.settings.acme import AcmeSettings
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.protocol.reasons import Reason, words_of

log = structlog.get_logger()


@dataclass(frozen=True)
class DnsPlugins(Plugins[ProviderType]):
    """The DNS providers by name.

    `destinations`: what they may connect to (None: anything). `domains`: below which the panel's own credentials may
    publish (none: anywhere).
    """

    group = ENTRY_POINTS
    subject = "DNS provider"
    name_field = "dns.provider"
    options_field = "dns.options"
    kept_with = "provider, zone and all other options"

    destinations: Destinations | None = None
    domains: tuple[str, ...] = field(default=())

    @classmethod
    def installed(cls, settings: object = None) -> Self:
        """Find the plugins, limited as the panel's settings say."""
        found = super().installed(settings)
        return found.limited(settings.dns) if isinstance(settings, Settings) else found

    def limited(self, limits: DnsSettings) -> Self:
        """Return the same providers, within limits."""
        if limits.unlimited:
            log.warning("dns.credential_is_unlimited", detail=limits.unlimited)
        return replace(self, destinations=Destinations.of(limits.reachable), domains=limits.own_domains)

    def open(self, name: str, zone: str, options: Mapping[str, Any]) -> Provider:
        """Make a provider. Raise `Invalid` where its options do not fit, `PermanentError` where it cannot be used."""
        kind = self.find(name)
        checked = self.options(name, options)
        if self.destinations is None:
            return kind(zone, checked)
        self.destinations.check_options(options, self.options_field)
        with self.destinations.enforced():
            return _Limited(kind(zone, checked), self.destinations)

    def open_for(self, acme: AcmeSettings) -> TextProvider:
        """Make the provider that is to answer a CA; raise `Invalid`, with the setting as its field, where none can.

        Nobody is asked: a CA counts failures, so that what can be seen before is not to be one.
        """
        name = acme.dns_provider or ""
        try:
            provider = self.open(name, acme.dns_zone or "", acme.provider_options)
        except PermanentError as error:
            wrong = "dns_zone" if name in self.types else "dns_provider"
            raise Invalid(words_of(error), field=f"acme.{wrong}") from None
        except Invalid as error:
            error.field = (error.field or "").replace("dns.", "acme.dns_", 1)
            raise
        if not provider.capabilities.texts:
            provider.close()
            raise Invalid(Reason("puts no TXT records; choose another provider"), field="acme.dns_provider")
        return cast("TextProvider", provider)

    def check_name(self, name: str, options: Mapping[str, Any], published: str, where: str) -> None:
        """Raise `Invalid` for a name that a group without a credential of its own may not publish."""
        if not self.domains or name not in self.defaults or self.secrets(name) <= options.keys():
            return
        if not any(published == domain or published.endswith(f".{domain}") for domain in self.domains):
            raise Invalid(
                Reason(
                    "{published} is not below {domains}, to which the panel's own credential is limited; "
                    "choose another name, or give this group a credential of its own",
                    published=published,
                    domains=", ".join(self.domains),
                ),
                field=where,
            )


class _Limited:
    """A provider that connects to nothing but what it may."""

    def __init__(self, provider: Provider, destinations: Destinations) -> None:
        self._provider = provider
        self._destinations = destinations

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.capabilities

    @property
    def account(self) -> Account:
        return self._provider.account

    def read(self, name: str) -> tuple[Record, ...]:
        with self._destinations.enforced():
            return self._provider.read(name)

    def apply(self, name: str, changes: Changes) -> int:
        with self._destinations.enforced():
            return self._provider.apply(name, changes)

    def check(self, name: str) -> list[Finding]:
        with self._destinations.enforced():
            return self._provider.check(name)

    def add_text(self, name: str, text: str) -> None:
        with self._destinations.enforced():
            cast("TextProvider", self._provider).add_text(name, text)

    def remove_text(self, name: str, text: str) -> None:
        with self._destinations.enforced():
            cast("TextProvider", self._provider).remove_text(name, text)

    def close(self) -> None:
        with self._destinations.enforced():
            self._provider.close()
