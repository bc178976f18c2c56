"""Rows of addresses: which peer has which. The primary key of `addresses` forbids a second use, whatever goes wrong.

A pool hands out what was given back first, lowest first, then counts up. Each call locks the rows of its pools, so that
no two transactions work on one pool at a time; the cost of an address does not depend on how many are in use.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

from sqlalchemy import Select, Table, bindparam, delete, func, insert, select, update

from wgfleet.panel.domain import addressing
from wgfleet.panel.errors import Conflict, Exhausted, Invalid
from wgfleet.panel.store.among import among
from wgfleet.panel.store.chunks import SIZE, chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import insert_many
from wgfleet.panel.store.tables import Address, FreeOffset, Peer, Pool
from wgfleet.protocol.reasons import Reason

# Statements on tables, made once: to build one, or to go through the mapper, costs more than to run it.
_pools = cast("Table", Pool.__table__)
_held = cast("Table", Address.__table__)
_free = cast("Table", FreeOffset.__table__)

_LOCK = (
    select(_pools.c.id, _pools.c.next_offset, _pools.c.server_address)
    .where(among(_pools.c.id, "pool_ids"))
    .order_by(_pools.c.id)  # the same order everywhere, or two transactions wait for each other
    .with_for_update()
)
_COUNT_ON = update(_pools).where(_pools.c.id == bindparam("pool")).values(next_offset=bindparam("counter"))
_CLAIMED_AHEAD = select(_held.c.offset).where(
    _held.c.pool_id == bindparam("pool"), _held.c.offset >= bindparam("start"), _held.c.offset < bindparam("end")
)
_LOWEST_FREE = (
    select(_free.c.offset)
    .where(_free.c.pool_id == bindparam("pool"))
    .order_by(_free.c.offset)
    .limit(bindparam("count", type_=_free.c.offset.type))
)
_NO_LONGER_FREE = delete(_free).where(
    _free.c.pool_id == bindparam("pool"), _free.c.offset >= bindparam("first"), _free.c.offset <= bindparam("last")
)
_POOLS_OF = select(_held.c.pool_id).where(among(_held.c.peer_id, "peer_ids")).distinct()
_TAKE_BACK = delete(_held).where(among(_held.c.peer_id, "peer_ids")).returning(_held.c.pool_id, _held.c.offset)
_SET_FREE = insert(_free)


class PoolRow(NamedTuple):
    """A pool, to be looked at."""

    id: str
    network: str
    next_offset: int
    server_address: str | None = None


class _LockedPool(NamedTuple):
    """What of a pool may be another than when it was looked at: it holds from the lock on."""

    next_offset: int
    server_address: str | None


AnyPool = Pool | PoolRow


class AddressClaim(NamedTuple):
    """An address that a peer wants, and the field of the request that says so."""

    address: str
    peer_id: str
    field: str


def _of_config(*, slices: bool) -> Select[str, str, int, str | None]:
    own = _pools.c.assignment_id.is_not(None) if slices else _pools.c.assignment_id.is_(None)
    columns = _pools.c.id, _pools.c.network, _pools.c.next_offset, _pools.c.server_address
    return select(*columns).where(_pools.c.config_id == bindparam("config"), own).order_by(_pools.c.id)


_OF_CONFIG, _SLICES_OF_CONFIG = _of_config(slices=False), _of_config(slices=True)


def pools(tx: Tx, config_id: str, *, slices: bool) -> list[PoolRow]:
    """Return the pools of a whole config, or the slices of its nodes: v4 before v6, each in the order of creation."""
    tx.settle()
    found = tx.connection.execute(_SLICES_OF_CONFIG if slices else _OF_CONFIG, {"config": config_id}).all()
    return sorted((PoolRow._make(row) for row in found), key=lambda pool: addressing.order(pool.network))


def allocate(
    tx: Tx, pools: Sequence[AnyPool], peer_ids: Sequence[str], spoken_for: Collection[str] = ()
) -> dict[str, list[str]]:
    """Give each peer one address of each pool; return them as text in the order of `pools`.

    `spoken_for`: addresses that nobody gets here, as somebody claims them soon. Raises `Exhausted` where a pool has too
    few left; the transaction is then to be given up.
    """
    given: dict[str, list[str]] = {peer_id: [] for peer_id in peer_ids}
    if not peer_ids or not pools:
        return given
    rows = []
    locked = _locked(tx, [pool.id for pool in pools])
    for pool in pools:
        own = locked[pool.id]
        some = addressing.inside(pool.network, spoken_for)
        kept = {addressing.offset_of(pool.network, each, own.server_address) for each in some}
        for offset, peer_id in zip(_take(tx, pool, own, len(peer_ids), kept), peer_ids, strict=True):
            rows.append((pool.id, offset, peer_id))
            given[peer_id].append(addressing.address_at(pool.network, offset))
    insert_many(tx, _held, ("pool_id", "offset", "peer_id"), rows)
    return given


def check_room(tx: Tx, pools: Sequence[AnyPool], count: int) -> None:
    """Raise `Exhausted` where a pool has fewer addresses left than that, as far as counters tell."""
    for pool in pools:
        end = addressing.last_offset(pool.network) + 1
        served = addressing.gateway_offset(pool.network, pool.server_address)
        new = end - pool.next_offset - (pool.next_offset <= served < end)
        if new < count and new + len(tx.session.scalars(_LOWEST_FREE, {"pool": pool.id, "count": count}).all()) < count:
            raise _used_up(pool.network, count)


def check_size(network: str, count: int, field: str | None = None) -> None:
    """Raise `Exhausted` where a pool of a network would have fewer addresses than that."""
    if addressing.capacity(network) < count:
        raise _used_up(network, count, field)


def _used_up(network: str, count: int, field: str | None = None) -> Exhausted:
    size = addressing.capacity(network)
    return Exhausted(
        Reason(
            "pool {pool} is used up: of its {size} addresses too few are left for {count} more; "
            "delete peers that are not needed, or use a larger pool",
            pool=network,
            size=size,
            count=count,
        ),
        field=field,
    )


def claim(tx: Tx, pool: AnyPool, wanted: Sequence[AddressClaim]) -> list[str]:
    """Give peers these very addresses of the pool; return them as canonical texts.

    Raises `Invalid` where no peer may have one, `Conflict` where another has it, both with the field.
    """
    server = _locked(tx, [pool.id])[pool.id].server_address
    offsets = [_offset(pool, each, server) for each in wanted]
    holders = _holders(tx, pool, offsets)
    for offset, each in zip(offsets, wanted, strict=True):
        if (holder := holders.setdefault(offset, each.peer_id)) != each.peer_id:
            name = tx.session.scalar(select(Peer.name).where(Peer.id == holder))
            text = addressing.address_at(pool.network, offset)
            raise Conflict(
                Reason(
                    "{text} is the address of peer {holder!r}; use another, or none to get a free one",
                    text=text,
                    holder=name or holder,
                ),
                field=each.field,
            )
    for some in _chunks(offsets):
        tx.session.execute(delete(_free).where(_free.c.pool_id == pool.id, _free.c.offset.in_(some)))
    held = [(pool.id, offset, each.peer_id) for offset, each in zip(offsets, wanted, strict=True)]
    insert_many(tx, _held, ("pool_id", "offset", "peer_id"), held)
    return [addressing.address_at(pool.network, offset) for offset in offsets]


def _offset(pool: AnyPool, wanted: AddressClaim, server: str | None) -> int:
    try:
        return addressing.offset_of(pool.network, wanted.address, server)
    except ValueError as error:
        raise Invalid(str(error), field=wanted.field) from None


def _holders(tx: Tx, pool: AnyPool, offsets: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for some in _chunks(offsets):
        query = select(_held.c.offset, _held.c.peer_id).where(_held.c.pool_id == pool.id, _held.c.offset.in_(some))
        found |= dict(tx.connection.execute(query).all())
    return found


def _chunks(offsets: Sequence[int]) -> Iterator[Sequence[int]]:
    return (offsets[start : start + SIZE] for start in range(0, len(offsets), SIZE))


def beyond(tx: Tx, pool_id: str, last: int) -> int:
    """Return how many peers have an address of a pool above an offset."""
    count = select(func.count()).select_from(_held).where(_held.c.pool_id == pool_id, _held.c.offset > last)
    return tx.session.scalar(count) or 0


def of_pool(tx: Tx, pool_id: str) -> int:
    """Return how many peers have an address of a pool."""
    return beyond(tx, pool_id, -1)


def in_pools(tx: Tx, pool_ids: Collection[str], most: int) -> tuple[list[str], int]:
    """Return the names of up to `most` peers with an address of pools, or of their slices, and how many have one."""
    of_pools = select(_pools.c.id).where(_pools.c.id.in_(pool_ids) | _pools.c.parent_id.in_(pool_ids))
    holds = Peer.id.in_(select(_held.c.peer_id).where(_held.c.pool_id.in_(of_pools)))
    names = tx.session.scalars(select(Peer.name).where(holds).order_by(Peer.name).limit(most))
    return list(names), tx.session.scalar(select(func.count()).select_from(Peer).where(holds)) or 0


def resize(tx: Tx, pool_id: str, network: str) -> None:
    """Give a pool a network that begins alike, and has all addresses in use."""
    end = addressing.last_offset(network) + 1
    tx.session.execute(delete(_free).where(_free.c.pool_id == pool_id, _free.c.offset >= end))
    beyond_end = update(_pools).where(_pools.c.id == pool_id, _pools.c.next_offset > end).values(next_offset=end)
    tx.session.execute(beyond_end)
    tx.session.execute(update(_pools).where(_pools.c.id == pool_id).values(network=network))


def serve_at(tx: Tx, pool: AnyPool, server: str | None) -> bool:
    """Have the nodes another address in a pool that nobody has an address of; tell whether that is so."""
    _locked(tx, [pool.id])
    if of_pool(tx, pool.id):
        return False
    tx.session.execute(delete(_free).where(_free.c.pool_id == pool.id))
    values = {"server_address": server, "next_offset": addressing.first_offset(pool.network, server)}
    tx.session.execute(update(_pools).where(_pools.c.id == pool.id).values(values))
    return True


def release(tx: Tx, peer_ids: Collection[str]) -> None:
    """Take back all addresses of the peers. To be called before the peers' rows are deleted."""
    for ids in chunked(peer_ids):
        locked = _locked(tx, tx.session.scalars(_POOLS_OF, {"peer_ids": ids}).all())
        free = [
            {"pool_id": pool_id, "offset": offset}
            for pool_id, offset in tx.session.execute(_TAKE_BACK, {"peer_ids": ids})
            # One that was claimed ahead of the counter: the counter will come to it.
            if offset < locked[pool_id].next_offset
        ]
        if free:
            tx.session.execute(_SET_FREE, free)


def of_peers(tx: Tx, peer_ids: Collection[str] | None, config_id: str) -> dict[str, list[str]]:
    """Return the addresses of peers of a config (None: of all), v4 before v6; peers without one are left out."""
    if peer_ids is None:
        return _texts(tx.session.execute(_addresses().where(Pool.config_id == config_id)))
    return _of_peers(tx, peer_ids, dict(tx.connection.execute(_NETWORKS, {"config": config_id}).all()))


def of_peers_in_pools(tx: Tx, pool_ids: Collection[str], peer_ids: Collection[str] | None) -> dict[str, list[str]]:
    """Return the addresses in these pools of peers (None: of all), v4 before v6; peers without one are left out."""
    if peer_ids is None:
        return _texts(tx.session.execute(_addresses().where(Address.pool_id.in_(pool_ids))))
    named = tx.connection.execute(_NETWORKS_OF_POOLS, {"pools": list(pool_ids)}).all()
    return _of_peers(tx, peer_ids, dict(named))


def _of_peers(tx: Tx, peer_ids: Collection[str], networks: Mapping[str, str]) -> dict[str, list[str]]:
    # Pools apart, and looked up here: joined, both databases may read all addresses of the pools instead.
    held = chain.from_iterable(tx.connection.execute(_OF_PEERS, {"peer_ids": ids}).all() for ids in chunked(peer_ids))
    return _texts((peer, networks[pool], offset) for peer, pool, offset in held if pool in networks)


def _locked(tx: Tx, pool_ids: Iterable[str]) -> dict[str, _LockedPool]:
    """Lock the pools and return them as they are now."""
    tx.settle()  # the peers that get addresses may be in the session only as yet
    rows = tx.connection.execute(_LOCK, {"pool_ids": list(pool_ids)}).all()
    return {pool_id: _LockedPool(*values) for pool_id, *values in rows}


def _take(tx: Tx, pool: AnyPool, locked: _LockedPool, count: int, kept: Collection[int]) -> list[int]:
    """Take `count` unused offsets out of the pool, and none that is to be kept: those given back, then new ones."""
    counter, served = locked.next_offset, addressing.gateway_offset(pool.network, locked.server_address)
    free = list(tx.connection.scalars(_LOWEST_FREE, {"pool": pool.id, "count": count + len(kept)}))
    offsets = [offset for offset in free if offset not in kept][:count]
    if offsets:
        tx.connection.execute(_NO_LONGER_FREE, {"pool": pool.id, "first": offsets[0], "last": offsets[-1]})
        _set_free(tx, pool, [offset for offset in free if offset in kept and offsets[0] < offset < offsets[-1]])
    if len(offsets) == count:
        return offsets
    end = addressing.last_offset(pool.network) + 1
    window = count - len(offsets)
    while missing := count - len(offsets):
        if missing > end - counter:
            raise _used_up(pool.network, count)
        upto = min(counter + window, end)
        ahead = {*tx.connection.scalars(_CLAIMED_AHEAD, {"pool": pool.id, "start": counter, "end": upto}), served}
        unused = [offset for offset in range(counter, upto) if offset not in ahead and offset not in kept][:missing]
        offsets += unused
        beyond_them = upto if len(unused) < missing else unused[-1] + 1
        # Where the counter has passed them, they are free like any that were given back.
        _set_free(
            tx, pool, [offset for offset in range(counter, beyond_them) if offset in kept and offset not in ahead]
        )
        counter = beyond_them
        window *= 2  # a long run of claimed addresses costs few statements
    tx.connection.execute(_COUNT_ON, {"pool": pool.id, "counter": counter})
    return offsets


def _set_free(tx: Tx, pool: AnyPool, offsets: Sequence[int]) -> None:
    insert_many(tx, _free, ("pool_id", "offset"), [(pool.id, offset) for offset in offsets])


def _addresses() -> Select[str, str, int]:
    return select(Address.peer_id, Pool.network, Address.offset).join(Pool, Pool.id == Address.pool_id)


_NETWORKS = select(_pools.c.id, _pools.c.network).where(_pools.c.config_id == bindparam("config"))
_NETWORKS_OF_POOLS = select(_pools.c.id, _pools.c.network).where(among(_pools.c.id, "pools"))
_OF_PEERS = select(_held.c.peer_id, _held.c.pool_id, _held.c.offset).where(among(_held.c.peer_id, "peer_ids"))


def _texts(rows: Iterable[Any]) -> dict[str, list[str]]:
    found: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for peer_id, network, offset in rows:
        found[peer_id].append((network, offset))
    for held in found.values():
        if len(held) > 1:
            held.sort(key=lambda each: (addressing.order(each[0]), each[1], each[0]))
    return {peer_id: [addressing.address_at(*each) for each in held] for peer_id, held in found.items()}
