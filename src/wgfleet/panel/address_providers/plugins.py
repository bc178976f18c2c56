"""Address providers as plugins: those installed, how one is opened for an account, and what it may connect to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from wgfleet.panel.address_providers import (
    ENTRY_POINTS,
    Account,
    AddressNode,
    AddressProvider,
    AddressProviderType,
    MeteredAddressProvider,
    command,
)
from wgfleet.panel.destinations import ADDRESS_SERVERS, Destinations
from wgfleet.panel.plugins import Plugins

_allowed: Destinations = Destinations(setting=ADDRESS_SERVERS)


def _of_this_process() -> Destinations:
    return _allowed


@dataclass(frozen=True)
class AddressPlugins(Plugins[AddressProviderType]):
    """The address providers by name. `destinations`: what they may connect to; without settings, the internet alone."""

    group = ENTRY_POINTS
    subject = "address provider"
    name_field = "address_provider"
    options_field = "address_options"
    kept_with = "provider and all other options"

    destinations: Destinations = field(default_factory=_of_this_process)

    def canonical(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return options as they are stored; raise `Invalid` also for a server, or a file, that may not be named."""
        found = super().canonical(name, given)
        self._check_destinations(name, found)
        return found

    def open(self, name: str, options: Mapping[str, Any]) -> AddressProvider:
        """Make a provider. Raise `Invalid` where its options do not fit, `PermanentError` where it cannot be used."""
        kind = self.find(name)
        checked = self.options(name, options)
        self._check_destinations(name, options)
        with self.destinations.enforced():
            made = kind(checked)
        kept = _LimitedAndMetered if isinstance(made, MeteredAddressProvider) else _Limited
        return kept(made, self.destinations)

    def _check_destinations(self, name: str, options: Mapping[str, Any]) -> None:
        by_node: frozenset[str] = getattr(self.find(name), "by_node", frozenset())
        servers = {key: value for key, value in options.items() if key not in by_node}
        self.destinations.check_options(servers, self.options_field)


class _Limited:
    """A provider that connects to nothing but what it may."""

    def __init__(self, provider: AddressProvider, destinations: Destinations) -> None:
        self._provider = provider
        self._destinations = destinations

    def holder(self, address: str, nodes: Sequence[AddressNode]) -> AddressNode | None:
        with self._destinations.enforced():
            return self._provider.holder(address, nodes)

    def assign(self, address: str, node: AddressNode) -> None:
        with self._destinations.enforced():
            self._provider.assign(address, node)

    def close(self) -> None:
        with self._destinations.enforced():
            self._provider.close()


class _LimitedAndMetered(_Limited):
    """The same, of one whose calls are counted."""

    _provider: MeteredAddressProvider

    @property
    def account(self) -> Account:
        return self._provider.account

    @property
    def calls(self) -> int:
        return self._provider.calls


def allow(servers: Iterable[str], programs: Mapping[str, Sequence[str]] | None = None) -> None:
    """Let the providers of this process connect to servers inside, and run programs: those of the panel's settings."""
    global _allowed  # noqa: PLW0603 - of a process, as the installed plugins are
    _allowed = Destinations.of(servers, ADDRESS_SERVERS)
    command.allow(programs or {})
    installed.cache_clear()


@cache
def installed() -> AddressPlugins:
    """Return the address providers that are installed, as they were when first asked for."""
    return AddressPlugins.installed()
