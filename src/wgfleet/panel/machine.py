"""Facts about the machine that the panel runs on: its name and the addresses it goes out with. Sends nothing."""

import re
import socket
from collections.abc import Mapping
from ipaddress import ip_network

from wgfleet.panel.domain.tunnel_networks import special_range

# RFC 5737 and RFC 3849: addresses for documentation. The default route leads there, nobody is there.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_DISCARD_PORT = 9


def host_name() -> str:
    """Return the first label of the host name, in the alphabet of node names."""
    label = socket.gethostname().partition(".")[0].lower()
    return re.sub(r"[^a-z0-9-]+", "-", label).strip("-") or "panel"


def hosts(own: Mapping[str, str], *, complete: bool) -> dict[str, str]:
    """Return this panel's own addresses and names, as far as it knows them, each with what it is in words.

    `own`: as settings have them; `complete`: nothing is missing there.
    """
    return {**({} if complete else dict.fromkeys(outbound_addresses(), "an address of the panel's machine")), **own}


def outbound_addresses() -> tuple[str, ...]:
    """Return the addresses that the default routes use as source, IPv4 first; empty on a machine without one."""
    found = []
    for family, elsewhere in _ELSEWHERE:
        try:
            # Connecting a datagram socket chooses the route and the source address, and sends no packet.
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, _DISCARD_PORT))
                address = str(probe.getsockname()[0])
        except OSError:
            continue
        if special_range(ip_network(address)) is None:  # not that of a link alone
            found.append(address)
    return tuple(found)
