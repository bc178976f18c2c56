"""Pools of configs: the networks that peers get addresses from, checked before they are made."""

import ipaddress
from collections.abc import Mapping, Sequence

from wgfleet.panel import clock
from wgfleet.panel.domain import addressing
from wgfleet.panel.domain.tunnel_networks import TRANSLATED, special_range
from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.services import tunnel_networks
from wgfleet.panel.store import Tx
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config, Pool
from wgfleet.protocol.addresses import parse_network
from wgfleet.protocol.reasons import Reason

MAX_POOLS = 8
# Smaller has no room for a node and a peer; larger holds what no allocator should be asked to count.
POOL_PREFIXES = {4: (8, 30), 6: (32, 126)}


def new(config: Config, network: str) -> Pool:
    """Return a new pool of a config."""
    return Pool(
        id=clock.new_id(),
        config_id=config.id,
        assignment_id=None,
        parent_id=None,
        network=network,
        next_offset=addressing.first_offset(network),
    )


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
