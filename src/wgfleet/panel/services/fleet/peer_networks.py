"""Networks behind peers: each belongs to one peer, and to no pool, or WireGuard would take it from the other."""

import ipaddress
from collections.abc import Sequence

from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.services import configs
from wgfleet.panel.store import Tx
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.addresses import parse_network


def check(tx: Tx, config: Config, wanted: Sequence[tuple[Sequence[str], str]], *, without: str | None = None) -> None:
    """Raise unless each (networks, field) may be had. `without` is the peer that is being changed."""
    if not any(networks for networks, _ in wanted):
        return
    taken = {
        ipaddress.ip_network(network): "a pool of the config"
        for network in configs.networks(tx, [config.id])[config.id]
    }
    for behind, owner in peer_rows.networks_by_peer(tx, config.id, without):
        taken[ipaddress.ip_network(behind)] = f"the networks of peer {owner!r}"
    for networks, field in wanted:
        for i, text in enumerate(networks):
            at = f"{field}[{i}]"
            network = ipaddress.ip_network(parse_network(text, at))
            if parse_network(text, at) != text:
                raise Invalid(f"write {network} in its canonical form", field=at)
            if network.prefixlen == 0:
                raise Invalid("a peer cannot have a default route as its network; list its own networks", field=at)
            for other, owner in taken.items():
                if other.version == network.version and other.overlaps(network):
                    raise Conflict(f"{network} overlaps {other}, {owner}", field=at)
            taken[network] = "another network of the same request"
