"""Networks that lead into the tunnel, checked against the addresses that nodes and panel need outside of it."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from types import MappingProxyType

from wgfleet.panel.domain.tunnel_networks import NeededAddresses, special_range
from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.store import Tx
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import peers as peer_rows

NOTHING: Mapping[str, str] = MappingProxyType({})


def needed(tx: Tx, panel: Mapping[str, str] = NOTHING) -> NeededAddresses:
    """Return the addresses of all nodes, agents and floating addresses, and those of the panel itself."""
    owners = dict.fromkeys(floating_rows.all_addresses(tx), "a floating address")
    for name, host in node_rows.agent_hosts(tx):
        if is_address(host):
            owners[host] = f"where the agent of node {name!r} is"
    owners |= {address: f"an address of node {name!r}" for address, name in node_rows.endpoint_addresses(tx).items()}
    return NeededAddresses({**panel, **owners})


def check(network: IPv4Network | IPv6Network, field: str, outside: NeededAddresses) -> None:
    """Raise if a network contains what has to stay outside of the tunnel."""
    if found := outside.inside(network):
        address, owner = found
        raise Conflict(
            f"{network} contains {address}, {owner}; nodes would send what is for it into the tunnel, and be cut off: "
            "choose a network without it",
            field=field,
        )
    if (special := special_range(network)) is not None:
        raise Invalid(f"{network} overlaps {special}, which is never behind a peer", field=field)


def check_outside(tx: Tx, address: str, field: str) -> None:
    """Raise if an address that has to stay outside is in a pool or a network behind a peer. A host name passes."""
    if not is_address(address):
        return
    parsed = ip_address(address)
    inside = [(network, f"pool of config {config!r}") for network, config in config_rows.all_pools(tx)]
    inside += [(network, f"behind peer {peer!r}") for network, peer in peer_rows.all_networks(tx)]
    for text, what in inside:
        network = ip_network(text)
        if network.version == parsed.version and parsed in network:
            raise Conflict(
                f"{address} is inside the tunnel: in {network}, {what}; nodes could not reach it", field=field
            )


def is_address(host: str) -> bool:
    """Whether a host is an address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
