"""Pools of a config that has peers already: made larger or smaller, added and removed."""

import dataclasses
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from wgfleet.panel.domain import addressing, peer_counts, pool_changes
from wgfleet.panel.domain.pool_changes import PoolChange
from wgfleet.panel.domain.taken_networks import TakenNetworks
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import audit, generations, pools, tunnel_networks
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.services.fleet import assignments
from wgfleet.panel.store import Tx, homes, new_files
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.addresses import AnyPool
from wgfleet.panel.store.tables import Config, Pool
from wgfleet.protocol.desired import check_mtu
from wgfleet.protocol.reasons import Reason

NAMED, MOST_AUDITED = 20, 100  # peers: in a preview, and in an entry of the audit log


def planned(
    tx: Tx,
    config: Config,
    texts: Sequence[str] | None,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    servers: Sequence[str] = (),
) -> PoolChange:
    """Return what becomes of a config's pools if it is to have these, or say which of them it cannot have.

    `texts` None: those that it has. `servers`: the nodes' own addresses, of those pools in which they are to be others.
    """
    before = {pool.network: pool for pool in config_rows.pools(tx, [config.id])}
    wanted = list(before) if texts is None else pools.parse(texts)
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
    _check_room(tx, config, found, wanted)
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
                    peers=peer_counts.in_words(left),
                    was=was,
                    after=after,
                ),
                field=at,
            )
    served = pools.parse_servers(servers, wanted, slices=config.mode == INDEPENDENT)
    return dataclasses.replace(found, served=_served(tx, before, found, served))


def _check_room(tx: Tx, config: Config, found: PoolChange, wanted: Sequence[str]) -> None:
    """Raise `Exhausted` where a new pool of a cluster has too few addresses for the peers that there are."""
    if config.mode != INDEPENDENT and found.added:
        count = homes.of_configs(tx, [config.id]).get(config.id, 0)
        for network in found.added:
            address_rows.check_size(network, count, f"pools[{wanted.index(network)}]")


def _served(
    tx: Tx,
    before: Mapping[str, Pool],
    found: PoolChange,
    wanted: Mapping[str, str | None],
) -> tuple[tuple[str, str | None], ...]:
    """Return in which pools the nodes get another address than they have; raise `Conflict` where they cannot."""
    was = {network: network for network in before} | {after: earlier for earlier, after in found.resized}
    for network, earlier in was.items():
        own = before[earlier].server_address
        if own and network not in wanted and not addressing.is_host(network, own):
            raise _no_longer(network, own)
    changed = []
    for network, server in wanted.items():
        pool = before.get(was.get(network, ""))
        if pool is not None and pool.server_address == server:
            continue
        if pool is not None and address_rows.of_pool(tx, pool.id):
            raise _in_use(pool)
        changed.append((network, server))
    return tuple(changed)


def _no_longer(network: str, server: str) -> Conflict:
    return Conflict(
        Reason(
            "the nodes have {server}, which is no address of a host in {network}: choose a network that has it",
            server=server,
            network=network,
        ),
        field="pools",
    )


def _in_use(pool: AnyPool) -> Conflict:
    return Conflict(
        Reason(
            "peers have addresses of {network}, and their files may name {server}, that of the nodes, as DNS server: "
            "it stays as long as there are peers; add a pool with another one beside it",
            network=pool.network,
            server=addressing.gateway(pool.network, pool.server_address),
        ),
        field=pools.SERVERS,
    )


def change(
    tx: Tx,
    actor: str,
    config: Config,
    texts: Sequence[str] | None,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    servers: Sequence[str] = (),
) -> PoolChange:
    """Have a config the pools that are asked for. Every peer gets an address of each new one, and keeps the others."""
    config_rows.serialize_creation(tx)
    found = planned(tx, config, texts, panel_hosts, servers)
    if not found:
        return found
    generation = generations.bump(tx, config.id, settings=True)
    before = {pool.network: pool.id for pool in config_rows.pools(tx, [config.id])}
    served = dict(found.served)
    losers, more = _losers(tx, [before[network] for network in found.removed])
    for network in found.removed:
        config_rows.remove_pool(tx, before[network])
    for was, after in found.resized:
        address_rows.resize(tx, before[was], after)
    for pool in address_rows.pools(tx, config.id, slices=False):
        if pool.network in served and not address_rows.serve_at(tx, pool, served[pool.network]):
            raise _in_use(pool)
    for network in found.added:
        new = pools.new(config, network, served.get(network))
        config_rows.add_pool(tx, new)
        if config.mode == INDEPENDENT:
            assignments.cut_everywhere(tx, config, new)
        else:
            address_rows.allocate(tx, [new], [peer.id for peer in peer_rows.of_config(tx, config.id)])
    if found.added or found.removed:
        # No delta says which addresses all peers have, so each node gets the whole.
        config_rows.set_values(tx, config.id, {"oldest_base": generation})
        new_files.of_config(tx, config.id)
    elif found.resized:
        new_files.of_excluding(tx, config)
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
        **_said(found),
        **({"need_new_files": losers} if losers else {}),
        **({"need_new_files_too": more} if more else {}),
    )
    return found


def named_losers(tx: Tx, pool_id: str) -> str:
    """Name the peers that lose an address with a pool; "" where there are none."""
    names, holders = address_rows.in_pools(tx, [pool_id], NAMED)
    said, more = ", ".join(map(repr, names)), holders - len(names)
    return Reason("{names} and {more} more", names=said, more=more) if more else said


def _losers(tx: Tx, pool_ids: Sequence[str]) -> tuple[list[str], int]:
    """Return the names of peers that lose an address with pools, and how many there are beyond those."""
    names, holders = address_rows.in_pools(tx, pool_ids, MOST_AUDITED)
    return names, holders - len(names)


def _said(found: PoolChange) -> dict[str, list[str]]:
    """Return what the audit log says of the nodes' own addresses, where they were chosen."""
    own = [addressing.gateway(network, server) for network, server in found.served]
    return {pools.SERVERS: own} if own else {}
