"""Address providers as plugins: those installed, and how one is opened for an account."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from wgfleet.panel.address_providers import ENTRY_POINTS, AddressProvider, AddressProviderType
from wgfleet.panel.plugins import Plugins


class AddressPlugins(Plugins[AddressProviderType]):
    """The address providers by name."""

    group = ENTRY_POINTS
    subject = "address provider"
    name_field = "address_provider"
    options_field = "address_options"
    kept_with = "provider and all other options"

    def open(self, name: str, options: Mapping[str, Any]) -> AddressProvider:
        """Make a provider. Raise `Invalid` where its options do not fit, `PermanentError` where it cannot be used."""
        kind = self.find(name)
        return kind(self.options(name, options))


@cache
def installed() -> AddressPlugins:
    """Return the address providers that are installed, as they were when first asked for."""
    return AddressPlugins.installed()
