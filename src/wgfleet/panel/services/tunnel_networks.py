"""Networks that lead into the tunnel, checked against the addresses that nodes and panel need outside of it."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from types import MappingProxyType

from wgfleet.panel.domain.fields import is_address
from wgfleet.panel.domain.tunnel_networks import NeededAddresses, special_range
from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.store import Tx
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import host_names as host_name_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.protocol.reasons import Reason

NOTHING: Mapping[str, str] = MappingProxyType({})


def needed(tx: Tx, panel: Mapping[str, str] = NOTHING) -> NeededAddresses:
    """Return the addresses of all nodes, agents, endpoint groups and floating addresses, and the panel's own.

    `panel`: its own addresses and names, each with words. Of a name it is those that were last found.
    """
    owners: dict[str, str] = dict.fromkeys(floating_rows.all_addresses(tx), Reason("a floating address"))
    for name, host in node_rows.agent_hosts(tx):
        if is_address(host):
            owners[host] = _agent(name)
    owners |= {
        address: Reason("an address of node {name!r}", name=name)
        for address, name in node_rows.endpoint_addresses(tx).items()
    }
    own = {host: words for host, words in panel.items() if is_address(host)}
    return NeededAddresses({**_of_names(tx, panel), **own, **owners})


def named_hosts(tx: Tx, panel: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """Return the names that have to stay outside of the tunnel, each with words for people. `panel`: as in `needed`."""
    found: dict[str, str] = {
        domain: Reason("the endpoint of config {config!r}", config=config)
        for config, domain in endpoint_group_rows.domains(tx)
    }
    found |= {
        node.endpoint_name: Reason("where node {node!r} is", node=node.name)
        for node in node_rows.named(tx)
        if node.endpoint_name
    }
    found |= {host: _agent(name) for name, host in node_rows.agent_hosts(tx)} | dict(panel)
    return {host: words for host, words in found.items() if not is_address(host)}


def _of_names(tx: Tx, panel: Mapping[str, str]) -> dict[str, str]:
    words = named_hosts(tx, panel)
    rows = host_name_rows.by_names(tx, words)
    return {address: f"{words[name]} ({name})" for name, row in rows.items() for address in row.addresses}


def _agent(node_name: str) -> str:
    return Reason("where the agent of node {node_name!r} is", node_name=node_name)


def check(network: IPv4Network | IPv6Network, field: str, outside: NeededAddresses) -> None:
    """Raise if a network contains what has to stay outside of the tunnel."""
    if found := outside.inside(network):
        address, owner = found
        raise Conflict(
            Reason(
                "{network} contains {address}, {owner}; nodes would send what is for it into the tunnel, and be cut "
                "off: choose a network without it",
                network=network,
                address=address,
                owner=owner,
            ),
            field=field,
        )
    if (special := special_range(network)) is not None:
        raise Invalid(
            Reason("{network} overlaps {special}, which is never behind a peer", network=network, special=special),
            field=field,
        )


class Tunnels:
    """All networks that lead into a tunnel: pools, and networks behind peers."""

    def __init__(self, tx: Tx) -> None:
        inside = [
            (network, Reason("pool of config {config!r}", config=config))
            for network, config in config_rows.all_pools(tx)
        ]
        inside += [
            (network, Reason("behind peer {peer!r}", peer=peer)) for network, peer, _ in peer_rows.all_networks(tx)
        ]
        self._networks = [(ip_network(network), what) for network, what in inside]

    def around(self, address: str) -> str | None:
        """Say in words in which network an address is; None where it is in none."""
        parsed = ip_address(address)
        for network, what in self._networks:
            if network.version == parsed.version and parsed in network:
                return Reason(
                    "{address} is inside the tunnel: in {network}, {what}", address=address, network=network, what=what
                )
        return None


def check_outside(tx: Tx, host: str, field: str) -> None:
    """Raise if a host that has to stay outside is in a pool or a network behind a peer.

    Of a name it is the addresses that were last found; one that was never found passes.
    """
    row = None if is_address(host) else host_name_rows.get(tx, host)
    addresses = [host] if is_address(host) else row.addresses if row is not None else []
    if not addresses:
        return
    tunnels = Tunnels(tx)
    for address in addresses:
        if (inside := tunnels.around(address)) is not None:
            named = "" if address == host else Reason("{host} leads into the tunnel: ", host=host)
            raise Conflict(Reason("{named}{inside}; nodes could not reach it", named=named, inside=inside), field=field)
