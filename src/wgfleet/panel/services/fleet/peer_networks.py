"""Networks behind peers: each belongs to one peer, and to no pool, or WireGuard would take it from the other."""

import ipaddress
from collections.abc import Mapping, Sequence
from itertools import chain

from wgfleet.panel.domain.taken_networks import TakenNetworks
from wgfleet.panel.errors import Conflict, Exhausted, Invalid
from wgfleet.panel.services import configs, tunnel_networks
from wgfleet.panel.store import Tx
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.addresses import parse_network

MAX_NETWORKS = 20_000
"""In a config, its pools among them: each is a route on every node, and is read whenever one is added."""


def check(
    tx: Tx,
    config: Config,
    wanted: Sequence[tuple[Sequence[str], str]],
    *,
    without: str | None = None,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    pools: Sequence[str] | None = None,
) -> None:
    """Raise unless each (networks, field) may be had.

    `without` is the peer that is being changed; `panel_hosts` are the panel's own, each with what it is. `pools`: the
    networks of a config that is not there yet.
    """
    if not any(networks for networks, _ in wanted):
        return
    outside = tunnel_networks.needed(tx, panel_hosts)
    own = configs.networks(tx, [config.id])[config.id] if pools is None else pools
    taken = TakenNetworks(
        chain(
            ((network, "a pool of the config") for network in own),
            (
                (behind, f"the networks of peer {owner!r}")
                for behind, owner in peer_rows.networks_by_peer(tx, config.id, without)
            ),
        )
    )
    for networks, field in wanted:
        for i, text in enumerate(networks):
            at = f"{field}[{i}]"
            network = ipaddress.ip_network(parse_network(text, at))
            if network.prefixlen == 0:
                raise Invalid("a peer cannot have a default route as its network; list its own networks", field=at)
            tunnel_networks.check(network, at, outside)
            other = taken.take(network, "another network of the same request")
            if other is not None:
                raise Conflict(f"{network} overlaps {other.network}, {other.owner}", field=at)
            if len(taken) > MAX_NETWORKS:
                raise Exhausted(
                    f"a config can have {MAX_NETWORKS} networks behind its peers, each a route on every node; "
                    "combine neighboring networks, or use another config",
                    field=at,
                )
