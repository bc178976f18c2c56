"""DNS providers as plugins: those installed, and how one is opened for a zone."""

from collections.abc import Mapping
from typing import Any

from wgfleet.panel.dns.providers import ENTRY_POINTS, Provider, ProviderType
from wgfleet.panel.plugins import Plugins


class DnsPlugins(Plugins[ProviderType]):
    """The DNS providers by name."""

    group = ENTRY_POINTS
    subject = "DNS provider"
    name_field = "dns.provider"
    options_field = "dns.options"
    kept_with = "provider, zone and all other options"

    def open(self, name: str, zone: str, options: Mapping[str, Any]) -> Provider:
        """Make a provider. Raise `Invalid` where its options do not fit, `PermanentError` where it cannot be used."""
        kind = self.find(name)
        return kind(zone, self.options(name, options))
