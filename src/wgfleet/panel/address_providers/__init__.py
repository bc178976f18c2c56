"""Providers of floating addresses: what brings an address to the node that is to hold it. Who that is is not theirs.

A provider is a plugin: an entry point in the group `wgfleet.address_providers` whose object is an
`AddressProviderType`. Where the agent carries the address there is nothing else to do; a cloud's address is assigned
with a call to the cloud. docs/floating.md has a complete example.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from wgfleet.panel.accounts import Account, Blocked

ENTRY_POINTS = "wgfleet.address_providers"
NONE = "none"

__all__ = [
    "ENTRY_POINTS",
    "NONE",
    "Account",
    "AddressNode",
    "AddressProvider",
    "AddressProviderType",
    "Blocked",
    "MeteredAddressProvider",
]


@dataclass(frozen=True, slots=True)
class AddressNode:
    """A node as a provider sees it. `endpoint_addresses` are its own public ones, by which a cloud may know it."""

    id: str
    name: str
    endpoint_addresses: tuple[str, ...]


class AddressProvider(Protocol):
    """One account at a provider. Calls block, are made from threads, and may be repeated.

    Failures: `TransientError` (worth another try, after `retry_after_s` where it is given), its subclass `Blocked`
    where the provider refuses the whole account, or `PermanentError` with the provider's own words and what would
    help. No error holds a credential.
    """

    def holder(self, address: str, nodes: Sequence[AddressNode]) -> AddressNode | None:
        """Return which of the nodes has the address, None where none of them has. Changes nothing."""

    def assign(self, address: str, node: AddressNode) -> None:
        """Bring the address to the node, wherever it is. Returns when the provider has done or accepted it."""

    def close(self) -> None:
        """Let go of connections."""


@runtime_checkable
class MeteredAddressProvider(AddressProvider, Protocol):
    """A provider whose calls are counted, so that the panel never uses up what an account may do."""

    @property
    def account(self) -> Account:
        """Return what calls count against."""

    @property
    def calls(self) -> int:
        """Return how many calls this object has made."""


class AddressProviderType(Protocol):
    """What an entry point holds: a class of providers. `Options` says what an endpoint group may set.

    `on_agent`: the agent adds the address to its machine and removes it; the provider itself is never called. One of
    these may have `routed`: the address is on loopback, for the machine's routing daemon to announce, not on a link.
    One that is called may have `bound`: the cloud delivers packets to the address itself, so the agent of its holder
    has it on loopback, and calls clients from there. Or `translated_to`: the option that says, by the node's name, to
    which private addresses of its machine the cloud translates floating ones (one or a list); clients are called from
    those.
    `by_node` (a frozenset), if there are any: the options that say something of each node by its name, and name no
    server to connect to; a node may be called `host` and have a private address. Names of nodes that there are not are
    refused there. `ipv4_only`, if it has it: there are no IPv6 addresses. Secret fields of `Options` are
    `pydantic.SecretStr`.
    """

    name: str
    on_agent: bool
    Options: type[BaseModel]

    def __call__(self, options: Any) -> AddressProvider: ...
