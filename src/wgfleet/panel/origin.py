"""From where a request came: the address of its caller, for the audit log and for limits.

The doors in front of the API and the pages bind it once for each request. What is done for the request has it too,
also in another thread; what reconcilers do later has none.
"""

import ipaddress
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

UNKNOWN = "unknown"
_address: ContextVar[str | None] = ContextVar("origin", default=None)


def of(scope: Mapping[str, Any]) -> str:
    """Return the address that a request came from, as it is written everywhere; `UNKNOWN` where it is none.

    Behind a trusted proxy the server has put there what the proxy says, which may be any text.
    """
    client = scope.get("client")
    return UNKNOWN if not client else spelled(client[0]) or UNKNOWN


def spelled(text: str) -> str | None:
    """Return an IP address in its one spelling: without a zone, and an IPv4 address as such; None: it is none."""
    try:
        found = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def bind(scope: Mapping[str, Any]) -> None:
    """Note where the request came from that is served in this context. Each request has a context of its own."""
    _address.set(of(scope))


def address() -> str | None:
    """Return from where it came what is done now; None: from nowhere, it is the panel's own work."""
    return _address.get()
