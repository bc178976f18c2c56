"""Networks that another node may name of a peer that is none of this node: what is believed of it. Pure.

Only what takes nothing from a peer of this node, and is an address of the config's or a network behind its peers.
"""

import ipaddress

from wgfleet.agent.interfaces.allowed_ips import AllowedIpIndex
from wgfleet.protocol.addresses import parse_network
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.errors import FieldError

_MOST = 64  # of one peer
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def believed(claimed: tuple[str, ...], settings: InterfaceSettings, own: AllowedIpIndex) -> tuple[str, ...]:
    """Return those that are believed; `own` are the networks of this node's peers."""
    inside = pools(settings)
    return tuple(
        each for each in claimed[:_MOST] if not own.has(each) and (each in settings.routes or _is_host_in(each, inside))
    )


def pools(settings: InterfaceSettings) -> list[Network]:
    """Return the networks of the interface's addresses, of which each user has one."""
    return [ipaddress.ip_interface(each).network for each in settings.addresses]


def _is_host_in(text: str, inside: list[Network]) -> bool:
    """Whether it is a single address in one of the pools, written as this node writes those of its own peers."""
    try:
        if parse_network(text, "network") != text:
            return False
    except FieldError:
        return False
    network = ipaddress.ip_network(text)
    return network.num_addresses == 1 and any(
        network.version == pool.version and network.network_address in pool for pool in inside
    )
