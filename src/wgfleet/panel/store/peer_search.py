"""Search for peers by a part of their name, without reading all peers.

A part that is common is found by looking at the next peers in order; a rare one of three characters or more by an
index of all the threes of characters in names (revision 0024): FTS5's trigrams on SQLite, a GIN index of arrays on
PostgreSQL, which needs no extension and knows every script. A shorter part, and one that is rare
here and common elsewhere, is looked for in `LOOKED_AT` peers a call, after which the caller goes on. Letters are
compared as `look_alikes.folded` has them, on both databases.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple, cast

from sqlalchemy import ColumnElement, MetaData, Select, Table, bindparam, func, select, text

from wgfleet.panel.domain import look_alikes
from wgfleet.panel.store import shown_peers
from wgfleet.panel.store.among import among
from wgfleet.panel.store.chunks import SIZE, chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import insert_many
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import Address, Peer, Pool
from wgfleet.protocol.keys import KEY_CHARACTERS

THREE = 3
NEAR = 1_000  # peers that are looked at first, in order
FEW = 300  # found by the index, of all configs: up to this number they are looked up one by one
LOOKED_AT = 20_000  # peers a call, where the index does not help

_Position = Callable[..., ColumnElement[int]]

_SQLITE = text(
    "SELECT r.peer_id FROM peer_search JOIN peer_search_rows r ON r.number = peer_search.rowid "
    "WHERE peer_search MATCH :threes LIMIT :most"
)
_POSTGRESQL = text("SELECT id FROM peers WHERE wgfleet_trigrams(name_folded) @> CAST(:threes AS text[]) LIMIT :most")


_LAST = "SELECT coalesce(max(number), 0) FROM peer_search_rows"
_ROWS = Table("peer_search_rows", MetaData())
_NAMES = Table("peer_search", MetaData())


def add(tx: Tx, peers: Sequence[tuple[str, str]]) -> None:
    """Have the index know peers that were inserted, (id, folded name); what becomes of them later it notices itself."""
    connection = tx.connection
    if connection.dialect.name != "sqlite":
        return
    last = connection.exec_driver_sql(_LAST).scalar_one()
    numbered = list(enumerate(peers, last + 1))  # there is one writer
    insert_many(tx, _ROWS, ("number", "peer_id"), [(number, peer_id) for number, (peer_id, _) in numbered])
    insert_many(tx, _NAMES, ("rowid", "name"), [(number, name) for number, (_, name) in numbered])


class Found(NamedTuple):
    """Peers in order. `looked_up_to`: the id after which to go on, None where all that there are were looked at."""

    peers: list[ShownPeer]
    looked_up_to: str | None


def search(tx: Tx, config_id: str, after: str | None, limit: int, part: str) -> Found:
    """Return up to `limit` peers of a config after an id whose name has a part, or whose key or address it is."""
    folded, wanted = look_alikes.folded(part), limit + 1  # the one too many says that there are more
    owners: Sequence[str] = [each for each in holders(tx, part, config_id) if each > (after or "")]
    if len(part) == KEY_CHARACTERS:
        owners = tx.connection.scalars(_BY_KEY, {"config_id": config_id, "after": after or "", "key": part}).all()
    ids, looked_up_to = _walk(tx, config_id, after, wanted, folded, NEAR)
    if looked_up_to is not None and len(ids) < wanted:
        # Where as many go on to fit, the index would name more than `FEW`, which takes it longer than to look at them.
        is_common = len(ids) * LOOKED_AT > FEW * NEAR
        few = by_index(tx, folded) if len(folded) >= THREE and not is_common else None
        if few is None:
            more, looked_up_to = _walk(tx, config_id, looked_up_to, wanted - len(ids), folded, LOOKED_AT - NEAR)
            ids += more
        else:
            ids, looked_up_to = _of_config(tx, config_id, after, folded, few), None
    found = sorted({*ids, *(each for each in owners if looked_up_to is None or each <= looked_up_to)})
    shown = found[:limit]
    if len(found) > limit:
        looked_up_to = shown[-1]
    return Found(shown_peers.by_ids(tx, shown), looked_up_to)


def holders(tx: Tx, address: str, config_id: str | None = None) -> list[str]:
    """Return the ids of the peers, of a config or of all, that have an address; none where it is no address."""
    try:
        wanted = ip_address(address)
    except ValueError:
        return []
    found: list[str] = []
    pools = select(Pool.id, Pool.network)
    if config_id is not None:
        pools = pools.where(Pool.config_id == config_id)
    for pool_id, each in tx.connection.execute(pools).all():
        network = ip_network(each)
        if wanted in network:
            offset = int(wanted) - int(network.network_address)
            query = select(Address.peer_id).where(Address.pool_id == pool_id, Address.offset == offset)
            found += tx.connection.scalars(query).all()
    return found


def _walk(
    tx: Tx, config_id: str, after: str | None, limit: int, folded: str, most: int
) -> tuple[list[str], str | None]:
    """Look at the next `most` peers; return up to `limit` ids, and the last one looked at, None where it is the end."""
    here = {"config_id": config_id, "after": after or ""}
    looks = _LOOK[tx.connection.dialect.name]
    found = sorted(tx.connection.scalars(looks, here | {"most": most, "part": folded, "limit": limit}))
    if len(found) == limit:
        return found, found[-1]
    return found, tx.connection.scalar(_LAST_LOOKED_AT, here | {"skipped": most - 1})


def _statement_of_looks(position: _Position) -> Select[str]:
    # Not their rows: all that this needs is in an index. Both databases go through it in its order, and end with the
    # last that is wanted; asked for the order once more, SQLite would look at all before it sorts them.
    near = select(_peers.c.id, _peers.c.name_folded).where(*_AFTER).order_by(_peers.c.id).limit(bindparam("most"))
    each = near.subquery()
    has = position(each.c.name_folded, bindparam("part")) > 0
    return select(each.c.id).where(has).limit(bindparam("limit"))


def _statement_of_few(position: _Position) -> Select[str]:
    # By their ids, all of them: the index of a config's peers could be walked through instead.
    few = select(_peers.c.id, _peers.c.config_id, _peers.c.name_folded)
    found = few.where(among(_peers.c.id, "ids"), _peers.c.id > bindparam("after"))
    each = found.limit(SIZE).subquery()
    return select(each.c.id).where(
        each.c.config_id == bindparam("config_id"), position(each.c.name_folded, bindparam("part")) > 0
    )


_peers = cast("Table", Peer.__table__)
_AFTER = (_peers.c.config_id == bindparam("config_id"), _peers.c.id > bindparam("after"))
_LAST_LOOKED_AT = select(_peers.c.id).where(*_AFTER).order_by(_peers.c.id).offset(bindparam("skipped")).limit(1)
_BY_KEY = select(_peers.c.id).where(*_AFTER, _peers.c.public_key == bindparam("key"))
_LOOK = {"sqlite": _statement_of_looks(func.instr), "postgresql": _statement_of_looks(func.strpos)}
_AMONG = {"sqlite": _statement_of_few(func.instr), "postgresql": _statement_of_few(func.strpos)}


def by_index(tx: Tx, folded: str) -> list[str] | None:
    """Return the ids of all peers that have all threes of a part, whatever their config; None where they are many."""
    threes = sorted({folded[i : i + THREE] for i in range(len(folded) - THREE + 1)})
    statement, value = _POSTGRESQL, threes
    if tx.connection.dialect.name == "sqlite":
        quoted = (f'"{three}"' for three in (each.replace('"', '""') for each in threes))
        statement, value = _SQLITE, " AND ".join(quoted)  # type: ignore[assignment]  # the driver takes either
    found = list(tx.connection.scalars(statement, {"threes": value, "most": FEW + 1}))
    return found if len(found) <= FEW else None


def _of_config(tx: Tx, config_id: str, after: str | None, folded: str, few: Sequence[str]) -> list[str]:
    ids: list[str] = []
    for chunk in chunked(few):
        values = {"config_id": config_id, "after": after or "", "ids": chunk, "part": folded}
        ids += tx.connection.scalars(_AMONG[tx.connection.dialect.name], values)
    return ids
