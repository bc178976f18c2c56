"""From where a request came: the address of its caller, for the audit log and for limits, and whose credential it has.

The doors in front of the API and the pages bind it once for each request. What is done for the request has it too,
also in another thread; what reconcilers do later has none.
"""

import ipaddress
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from wgfleet.doors.strangers import plain_address

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
UNKNOWN = "unknown"
_MAPPED_BITS = 96  # of an IPv6 address that stands for an IPv4 address, before that
_address: ContextVar[str | None] = ContextVar("origin", default=None)
_requester: ContextVar[str | None] = ContextVar("requester", default=None)


def of(scope: Mapping[str, Any]) -> str:
    """Return the address that a request came from, as it is written everywhere; `UNKNOWN` where it is none.

    Behind a trusted proxy the server has put there what the proxy says, which may be any text.
    """
    client = scope.get("client")
    return UNKNOWN if not client else spelled(client[0]) or UNKNOWN


def spelled(text: str) -> str | None:
    """Return an IP address in its one spelling: without a zone, and an IPv4 address as such; None: it is none."""
    found = plain_address(text.strip())
    return None if found is None else str(found)


class Keys(NamedTuple):
    """The keys of all addresses of a network, from the first to the last."""

    first: str
    last: str


def key(text: str) -> str:
    """Return what an address is sorted by, in any collation; of a network, that of its first address.

    What is none stands for itself.
    """
    try:
        return _key(ipaddress.ip_network(text).network_address)
    except ValueError:
        return text


def keys(network: IPNetwork) -> Keys:
    """Return between which keys the addresses of a network are."""
    return Keys(_key(network.network_address), _key(network.broadcast_address))


def _key(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return f"{address.version}{address.packed.hex()}"


def network(text: str) -> IPNetwork | None:
    """Return the network that a text names; an address is one of itself alone. None: it names none.

    Bits behind the prefix do not count, and IPv4 in the spelling of IPv6 is IPv4, as in `spelled`.
    """
    address, slash, length = text.strip().partition("/")
    try:
        found = ipaddress.ip_network(f"{address.partition('%')[0]}{slash}{length}", strict=False)
    except ValueError:
        return None
    mapped = found.network_address.ipv4_mapped if isinstance(found, ipaddress.IPv6Network) else None
    if mapped is None or found.prefixlen < _MAPPED_BITS:
        return found
    return ipaddress.IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))


def bind(scope: Mapping[str, Any]) -> None:
    """Note where the request came from that is served in this context. Each request has a context of its own."""
    _address.set(of(scope))


def address() -> str | None:
    """Return from where it came what is done now; None: from nowhere, it is the panel's own work."""
    return _address.get()


def bind_requester(reference: str) -> None:
    """Note whose credential the request has that is served in this context: `Caller.reference`."""
    _requester.set(reference)


def requester() -> str | None:
    """Return for whose credential it is what is done now; None: it is the panel's own work."""
    return _requester.get()
