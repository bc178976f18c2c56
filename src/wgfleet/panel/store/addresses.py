"""Which peer has which address. The primary key of `addresses` forbids a second use, whatever else goes wrong.

A pool hands out what was given back first, lowest first, then counts up. Each call locks the rows of its pools, so that
no two transactions work on one pool at a time; the cost of an address does not depend on how many are in use.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Select, delete, insert, select, update

from wgfleet.panel.domain import addressing
from wgfleet.panel.errors import Conflict, Exhausted, Invalid
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Address, FreeOffset, Pool

# Statements here need no objects; sessions hold peers by the ten thousand, which must not be searched each time.
_PLAIN = {"synchronize_session": False}


def allocate(tx: Tx, pools: Sequence[Pool], peer_ids: Sequence[str]) -> dict[str, list[str]]:
    """Give each peer one address of each pool; return them as text in the order of `pools`.

    Raises `Exhausted` where a pool has too few left; the transaction is then to be given up.
    """
    given: dict[str, list[str]] = {peer_id: [] for peer_id in peer_ids}
    if not peer_ids:
        return given
    counters = _locked(tx, [pool.id for pool in pools])
    for pool in pools:
        offsets = _take(tx, pool, counters[pool.id], len(peer_ids))
        rows = [
            {"pool_id": pool.id, "offset": offset, "peer_id": peer_id}
            for offset, peer_id in zip(offsets, peer_ids, strict=True)
        ]
        tx.session.execute(insert(Address.__table__), rows)  # type: ignore[arg-type]
        for offset, peer_id in zip(offsets, peer_ids, strict=True):
            given[peer_id].append(addressing.address_at(pool.network, offset))
    return given


def claim(tx: Tx, pool: Pool, address: str, peer_id: str, field: str) -> str:
    """Give the peer this very address of the pool; return its canonical text.

    Raises `Invalid` where no peer may have it, `Conflict` where another has it, both with `field`.
    """
    try:
        offset = addressing.offset_of(pool.network, address)
    except ValueError as error:
        raise Invalid(str(error), field=field) from None
    _locked(tx, [pool.id])
    holder = tx.session.scalar(select(Address.peer_id).where(Address.pool_id == pool.id, Address.offset == offset))
    text = addressing.address_at(pool.network, offset)
    if holder is not None:
        raise Conflict(f"{text} is the address of peer {holder}; use another, or none to get a free one", field=field)
    free = delete(FreeOffset).where(FreeOffset.pool_id == pool.id, FreeOffset.offset == offset)
    tx.session.execute(free, execution_options=_PLAIN)
    row = {"pool_id": pool.id, "offset": offset, "peer_id": peer_id}
    tx.session.execute(insert(Address.__table__), [row])  # type: ignore[arg-type]
    return text


def release(tx: Tx, peer_ids: Collection[str]) -> None:
    """Take back all addresses of the peers. To be called before the peers' rows are deleted."""
    for ids in chunked(peer_ids):
        held = select(Address.pool_id).where(Address.peer_id.in_(ids)).distinct()
        counters = _locked(tx, tx.session.scalars(held).all())
        taken = delete(Address).where(Address.peer_id.in_(ids)).returning(Address.pool_id, Address.offset)
        free = [
            {"pool_id": pool_id, "offset": offset}
            for pool_id, offset in tx.session.execute(taken, execution_options=_PLAIN)
            # One that was claimed ahead of the counter: the counter will come to it.
            if offset < counters[pool_id]
        ]
        if free:
            tx.session.execute(insert(FreeOffset.__table__), free)  # type: ignore[arg-type]


def of_peers(tx: Tx, peer_ids: Collection[str] | None, config_id: str) -> dict[str, list[str]]:
    """Return the addresses of peers of a config (None: of all), v4 before v6; peers without one are left out."""
    return _texts(tx, _held().where(Pool.config_id == config_id), peer_ids)


def of_peers_in_pools(tx: Tx, pool_ids: Collection[str], peer_ids: Collection[str] | None) -> dict[str, list[str]]:
    """Return the addresses in these pools of peers (None: of all), v4 before v6; peers without one are left out."""
    return _texts(tx, _held().where(Address.pool_id.in_(pool_ids)), peer_ids)


def _locked(tx: Tx, pool_ids: Iterable[str]) -> dict[str, int]:
    """Lock the pools, always in the same order, and return their counters as they are now."""
    # The peers that get addresses may be in the session only as yet.
    tx.session.flush()
    query = select(Pool.id, Pool.next_offset).where(Pool.id.in_(set(pool_ids))).order_by(Pool.id).with_for_update()
    return dict(tx.session.execute(query).all())


def _take(tx: Tx, pool: Pool, counter: int, count: int) -> list[int]:
    """Take `count` unused offsets out of the pool: those given back, then new ones."""
    lowest = select(FreeOffset.offset).where(FreeOffset.pool_id == pool.id).order_by(FreeOffset.offset).limit(count)
    reused = (
        delete(FreeOffset)
        .where(FreeOffset.pool_id == pool.id, FreeOffset.offset.in_(lowest))
        .returning(FreeOffset.offset)
    )
    offsets = sorted(tx.session.scalars(reused, execution_options=_PLAIN))
    if len(offsets) == count:
        return offsets
    end = addressing.last_offset(pool.network) + 1
    window = count - len(offsets)
    while missing := count - len(offsets):
        if missing > end - counter:
            size = addressing.capacity(pool.network)
            raise Exhausted(
                f"pool {pool.network} is used up: of its {size} addresses too few are left for {count} more; "
                "delete peers that are not needed, or use a larger pool"
            )
        upto = min(counter + window, end)
        claimed = select(Address.offset).where(
            Address.pool_id == pool.id, Address.offset >= counter, Address.offset < upto
        )
        ahead = set(tx.session.scalars(claimed))
        unused = [offset for offset in range(counter, upto) if offset not in ahead][:missing]
        offsets += unused
        counter = upto if len(unused) < missing else unused[-1] + 1
        window *= 2  # a long run of claimed addresses costs few statements
    tx.session.execute(update(Pool).where(Pool.id == pool.id).values(next_offset=counter), execution_options=_PLAIN)
    return offsets


def _held() -> Select[str, str, int]:
    return select(Address.peer_id, Pool.network, Address.offset).join(Pool, Pool.id == Address.pool_id)


def _texts(tx: Tx, query: Select[str, str, int], peer_ids: Collection[str] | None) -> dict[str, list[str]]:
    pieces = [query] if peer_ids is None else [query.where(Address.peer_id.in_(ids)) for ids in chunked(peer_ids)]
    held: defaultdict[str, list[tuple[tuple[int, int], int, str]]] = defaultdict(list)
    for piece in pieces:
        for peer_id, network, offset in tx.session.execute(piece):
            held[peer_id].append((addressing.order(network), offset, network))
    return {
        peer_id: [addressing.address_at(network, offset) for _, offset, network in sorted(items)]
        for peer_id, items in held.items()
    }
