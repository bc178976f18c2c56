"""Pools of configs: the networks that peers get addresses from, checked before they are made."""

import ipaddress
from collections.abc import Collection, Mapping, Sequence

from wgfleet.panel import clock
from wgfleet.panel.domain import addressing
from wgfleet.panel.domain.tunnel_networks import TRANSLATED, special_range
from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.services import tunnel_networks
from wgfleet.panel.store import Tx
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config, Pool
from wgfleet.protocol.addresses import parse_address, parse_network
from wgfleet.protocol.reasons import Reason

MAX_POOLS = 8
SERVERS = "server_addresses"
# Smaller has no room for a node and a peer; larger holds what no allocator should be asked to count.
POOL_PREFIXES = {4: (8, 30), 6: (32, 126)}


def new(config: Config, network: str, server: str | None = None) -> Pool:
    """Return a new pool of a config. `server`: the nodes' own address in it; None: the first host's."""
    return Pool(
        id=clock.new_id(),
        config_id=config.id,
        assignment_id=None,
        parent_id=None,
        network=network,
        next_offset=addressing.first_offset(network, server),
        server_address=server,
    )


def servers(tx: Tx, config_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the nodes' own addresses in each config's pools, in the order of these."""
    found: dict[str, list[str]] = {config_id: [] for config_id in config_ids}
    for pool in config_rows.pools(tx, config_ids):
        found[pool.config_id].append(addressing.gateway(pool.network, pool.server_address))
    return found


def parse_servers(texts: Sequence[str], networks: Sequence[str], *, slices: bool) -> dict[str, str | None]:
    """Return the nodes' own addresses by pool (None: the first host's), or name the first that cannot be one.

    `slices`: each node has its own part of the pools, and an address in that.
    """
    found: dict[str, str | None] = {}
    for i, text in enumerate(texts):
        at = f"{SERVERS}[{i}]"
        if slices:
            raise Invalid(
                Reason("each node of an independent config has the first address of its own slice of the pools"),
                field=at,
            )
        address = parse_address(text, at)
        network = next((each for each in networks if addressing.inside(each, [address])), None)
        if network is None:
            raise Invalid(
                Reason("{address} is in none of the pools ({names})", address=address, names=", ".join(networks)),
                field=at,
            )
        if network in found:
            raise Invalid(
                Reason("{address} is a second one in {network}: nodes have one", address=address, network=network),
                field=at,
            )
        try:
            found[network] = addressing.server_address(network, address)
        except ValueError as error:
            raise Invalid(error.args[0], field=at) from None
    return found


def parse(texts: Sequence[str]) -> list[str]:
    """Return pools in canonical form, or name the first that is none."""
    if not 1 <= len(texts) <= MAX_POOLS:
        raise Invalid(
            Reason(
                "a config needs 1 to {max_pools} pools such as 10.8.0.0/24, not {count}",
                max_pools=MAX_POOLS,
                count=len(texts),
            ),
            field="pools",
        )
    found: list[str] = []
    for i, text in enumerate(texts):
        field = f"pools[{i}]"
        pool = parse_network(text, field)
        network = ipaddress.ip_network(pool)
        low, high = POOL_PREFIXES[network.version]
        if not low <= network.prefixlen <= high:
            raise Invalid(
                Reason(
                    "{pool}: an IPv{version} pool is /{low} to /{high}",
                    pool=pool,
                    version=network.version,
                    low=low,
                    high=high,
                ),
                field=field,
            )
        if special_range(network) is not None or network.overlaps(TRANSLATED):
            raise Invalid(
                Reason("{pool} is not a network for hosts; use one such as 10.8.0.0/24 or fd00::/64", pool=pool),
                field=field,
            )
        for other in found:
            if overlap(pool, other):
                raise Invalid(Reason("{pool} overlaps {other} in the same list", pool=pool, other=other), field=field)
        found.append(pool)
    return found


def check_free(tx: Tx, networks: Sequence[str], panel_hosts: Mapping[str, str], own: str = "") -> None:
    """Raise `Conflict` where a network is one of another config than the one named `own`, or holds what is needed."""
    taken, outside = config_rows.all_pools(tx), tunnel_networks.needed(tx, panel_hosts)
    behind_peers = peer_rows.all_networks(tx)
    for i, network in enumerate(networks):
        for other, owner in taken:
            if owner != own and overlap(network, other):
                raise Conflict(
                    Reason(
                        "{network} overlaps {other} of config {owner!r}; choose another range",
                        network=network,
                        other=other,
                        owner=owner,
                    ),
                    field=f"pools[{i}]",
                )
        for behind, peer, owner in behind_peers:
            if owner != own and overlap(network, behind):
                raise Conflict(
                    Reason(
                        "{network} overlaps {behind}, which is behind peer {peer!r} of config {owner!r}; choose "
                        "another range",
                        network=network,
                        behind=behind,
                        peer=peer,
                        owner=owner,
                    ),
                    field=f"pools[{i}]",
                )
        tunnel_networks.check(ipaddress.ip_network(network), f"pools[{i}]", outside)


def overlap(one: str, other: str) -> bool:
    """Tell whether two networks have an address in common."""
    a, b = ipaddress.ip_network(one), ipaddress.ip_network(other)
    return a.version == b.version and a.overlaps(b)
