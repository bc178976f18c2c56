"""Rows of the peers that an operation has yet to change: written when it is asked for, gone slice by slice."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, delete, func, insert, literal, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.listed_peers import PeerFilter, conditions
from wgfleet.panel.store.many_rows import insert_many
from wgfleet.panel.store.tables import Peer, PeerChange

_OPTIONS = {"synchronize_session": False}


class TableLine(NamedTuple):
    """What a line of a table makes of a peer: new values by their names."""

    peer_id: str
    line: int
    changes: Mapping[str, Any]


def begin(tx: Tx, operation_id: str, wanted: PeerFilter) -> list[str]:
    """Write down all peers that a filter lets through; return their ids."""
    found = select(literal(operation_id), Peer.id).where(*conditions(tx, wanted))
    tx.session.execute(insert(PeerChange).from_select(["operation_id", "peer_id"], found))
    return list(tx.session.scalars(select(PeerChange.peer_id).where(PeerChange.operation_id == operation_id)))


def begin_table(tx: Tx, operation_id: str, lines: Sequence[TableLine]) -> None:
    """Write down what lines of a table change."""
    rows = [(operation_id, each.peer_id, each.line, json.dumps(each.changes)) for each in lines]
    insert_many(tx, cast("Table", PeerChange.__table__), ("operation_id", "peer_id", "line", "changes"), rows)


def waiting(tx: Tx, operation_id: str, limit: int | None, *, by_line: bool = False) -> list[str]:
    """Return the ids of up to `limit` peers (None: all) that are not changed yet; `by_line`: in a table's order."""
    query = select(PeerChange.peer_id).where(PeerChange.operation_id == operation_id)
    order = (PeerChange.line, PeerChange.peer_id) if by_line else (PeerChange.peer_id,)
    return list(tx.session.scalars(query.order_by(*order).limit(limit)))


def lines(tx: Tx, operation_id: str, peer_ids: Collection[str]) -> list[TableLine]:
    """Return what lines of a table make of peers, in the order of the table."""
    columns = (PeerChange.peer_id, PeerChange.line, PeerChange.changes)
    query = select(*columns).where(PeerChange.operation_id == operation_id, PeerChange.peer_id.in_(peer_ids))
    found = [TableLine(peer_id, line or 0, changes or {}) for peer_id, line, changes in tx.session.execute(query)]
    return sorted(found, key=lambda each: each.line)


def done(tx: Tx, operation_id: str, peer_ids: Collection[str]) -> None:
    """Note that peers are changed, or cannot be."""
    gone = delete(PeerChange).where(PeerChange.operation_id == operation_id, PeerChange.peer_id.in_(peer_ids))
    tx.session.execute(gone, execution_options=_OPTIONS)


def give_up(tx: Tx, operation_id: str) -> int:
    """Leave the rest of the peers as they are; return how many."""
    count = select(func.count()).where(PeerChange.operation_id == operation_id)
    left = tx.session.scalar(count) or 0
    gone = delete(PeerChange).where(PeerChange.operation_id == operation_id)
    tx.session.execute(gone, execution_options=_OPTIONS)
    return left
