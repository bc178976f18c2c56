"""Rows of the peers that an operation has yet to change: written when it is asked for, gone slice by slice."""

from collections.abc import Collection

from sqlalchemy import delete, func, insert, literal, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.listed_peers import PeerFilter, conditions
from wgfleet.panel.store.tables import Peer, PeerChange

_OPTIONS = {"synchronize_session": False}


def begin(tx: Tx, operation_id: str, wanted: PeerFilter) -> list[str]:
    """Write down all peers that a filter lets through; return their ids."""
    found = select(literal(operation_id), Peer.id).where(*conditions(tx, wanted))
    tx.session.execute(insert(PeerChange).from_select(["operation_id", "peer_id"], found))
    return list(tx.session.scalars(select(PeerChange.peer_id).where(PeerChange.operation_id == operation_id)))


def waiting(tx: Tx, operation_id: str, limit: int) -> list[str]:
    """Return the ids of up to `limit` peers that are not changed yet."""
    query = select(PeerChange.peer_id).where(PeerChange.operation_id == operation_id)
    return list(tx.session.scalars(query.order_by(PeerChange.peer_id).limit(limit)))


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
