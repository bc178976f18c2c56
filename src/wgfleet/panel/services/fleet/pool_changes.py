"""Pools of a config that has peers already: made larger or smaller, added and removed."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from wgfleet.panel.domain import addressing, pool_changes
from wgfleet.panel.domain.pool_changes import PoolChange
from wgfleet.panel.domain.taken_networks import TakenNetworks
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import audit, generations, pools, tunnel_networks
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.services.fleet import assignments
from wgfleet.panel.store import Tx
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.desired import check_mtu
from wgfleet.protocol.reasons import Reason


def planned(
    tx: Tx, config: Config, texts: Sequence[str], panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING
) -> PoolChange:
    """Return what becomes of a config's pools if it is to have these, or say which of them it cannot have."""
    wanted = pools.parse(texts)
    before = {pool.network: pool for pool in config_rows.pools(tx, [config.id])}
    found = pool_changes.change(list(before), wanted)
    check_mtu(config.mtu, wanted, "mtu")
    larger = {after for was, after in found.resized if addressing.contains(after, was)}
    new = [network if network in larger or network in found.added else "" for network in wanted]
    pools.check_free(tx, wanted, panel_hosts, config.name)
    behind = TakenNetworks(
        (each, Reason("the networks of peer {owner!r}", owner=owner))
        for each, owner in peer_rows.networks_by_peer(tx, config.id)
    )
    for i, network in enumerate(new):
        other = behind.take(ip_network(network), "") if network else None
        if other is not None:
            raise Conflict(
                Reason("{network} overlaps {other}, {owner}", network=network, other=other.network, owner=other.owner),
                field=f"pools[{i}]",
            )
    for was, after in found.resized:
        at = f"pools[{wanted.index(after)}]"
        if config.mode == INDEPENDENT:
            raise Conflict(
                Reason("{was} is cut into slices, one for each node; add a pool instead of changing it", was=was),
                field=at,
            )
        if after not in larger and (left := address_rows.beyond(tx, before[was].id, addressing.last_offset(after))):
            raise Conflict(
                Reason(
                    "{peers} of {was} would have an address outside of {after}; delete or change them first",
                    peers=Reason("1 peer") if left == 1 else Reason("{number} peers", number=left),
                    was=was,
                    after=after,
                ),
                field=at,
            )
    return found


def change(
    tx: Tx,
    actor: str,
    config: Config,
    texts: Sequence[str],
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
) -> PoolChange:
    """Have a config the pools that are asked for. Every peer gets an address of each new one, and keeps the others."""
    config_rows.serialize_creation(tx)
    found = planned(tx, config, texts, panel_hosts)
    if not found:
        return found
    generation = generations.bump(tx, config.id, settings=True)
    before = {pool.network: pool.id for pool in config_rows.pools(tx, [config.id])}
    for network in found.removed:
        config_rows.remove_pool(tx, before[network])
    for was, after in found.resized:
        address_rows.resize(tx, before[was], after)
    for network in found.added:
        pool = pools.new(config, network)
        config_rows.add_pool(tx, pool)
        if config.mode == INDEPENDENT:
            assignments.cut_everywhere(tx, config, pool)
        else:
            address_rows.allocate(tx, [pool], [peer.id for peer in peer_rows.of_config(tx, config.id)])
    if found.added or found.removed:
        # No delta says which addresses all peers have, so each node gets the whole.
        config_rows.set_values(tx, config.id, {"oldest_base": generation})
    tx.refresh(config)
    audit.record(
        tx,
        actor,
        "pools_changed",
        "config",
        config.id,
        name=config.name,
        added=list(found.added),
        removed=list(found.removed),
        resized=[f"{was} to {after}" for was, after in found.resized],
    )
    return found
