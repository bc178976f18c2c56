"""Rows of visits: when and from where peers were at nodes."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, cast

from sqlalchemy import Table, and_, delete, func, select, tuple_

from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.many_rows import upsert_of_peers
from wgfleet.panel.store.tables import Peer, PeerSession, PeerVisit

LATE_S = 600.0  # by so much a visit that goes on may have lasted longer than its row says


class VisitRow(NamedTuple):
    """A visit that goes on, of the peer with a public key. Times are s since the epoch."""

    node_id: str
    endpoint: str
    began_at: float
    last_at: float
    config_id: str
    public_key: str


def write(tx: Tx, visits: Sequence[VisitRow]) -> None:
    """Write visits that began or go on; keys that are no peers any more are passed over."""
    table, key = cast("Table", PeerVisit.__table__), ("peer_id", "node_id", "began_at")
    rows = {(each.node_id, each.began_at, each.config_id, each.public_key): tuple(each) for each in visits}
    columns = ("node_id", "endpoint", "began_at", "last_at")
    upsert_of_peers(tx, table, columns, list(rows.values()), key, {"last_at": "excluded.last_at"})


def going_on(tx: Tx, config_id: str, keys: Collection[str], since: float) -> list[tuple[VisitRow, int]]:
    """Return the visits, to any node, that some peers were seen on since a time, the newest last.

    With each: the latest handshake that is known of the peer at that node, 0 if there is none.
    """
    found = []
    shaken = func.coalesce(PeerSession.latest_handshake, 0)
    session = and_(PeerSession.peer_id == PeerVisit.peer_id, PeerSession.node_id == PeerVisit.node_id)
    columns = (PeerVisit.node_id, PeerVisit.endpoint, PeerVisit.began_at, PeerVisit.last_at, Peer.public_key, shaken)
    for chunk in chunked(keys):
        query = (
            select(*columns)
            .join(Peer, Peer.id == PeerVisit.peer_id)
            .outerjoin(PeerSession, session)
            .where(PeerVisit.last_at >= since, Peer.config_id == config_id, Peer.public_key.in_(chunk))
            .order_by(PeerVisit.began_at)
        )
        for node_id, endpoint, began_at, last_at, key, handshake in tx.connection.execute(query):
            found.append((VisitRow(node_id, endpoint, began_at, last_at, config_id, key), handshake))
    return found


def kept_out(tx: Tx, config_id: str) -> Sequence[str]:
    """Return the public keys of a config's peers that no node lets in because of their jobs."""
    query = select(Peer.public_key).where(Peer.restricted_at.is_not(None), Peer.config_id == config_id)
    return tx.session.scalars(query).all()


def page(tx: Tx, peer_id: str, before: tuple[float, str] | None, limit: int) -> Sequence[PeerVisit]:
    """Return up to `limit` visits of a peer, the newest first, before one (when it began, node id)."""
    query = select(PeerVisit).where(PeerVisit.peer_id == peer_id)
    if before is not None:
        query = query.where(tuple_(PeerVisit.began_at, PeerVisit.node_id) < before)
    return tx.session.scalars(query.order_by(PeerVisit.began_at.desc(), PeerVisit.node_id.desc()).limit(limit)).all()


def newest(tx: Tx, peer_id: str) -> dict[str, float]:
    """Return when the newest visit of a peer at each node (by id) began."""
    query = select(PeerVisit.node_id, func.max(PeerVisit.began_at).label("began_at"))
    of_peer = query.where(PeerVisit.peer_id == peer_id).group_by(PeerVisit.node_id)
    return {row.node_id: row.began_at for row in tx.connection.execute(of_peer)}


def forget(tx: Tx, before: float, limit: int) -> int:
    """Delete up to `limit` visits that ended before a time; return how many."""
    key = (PeerVisit.peer_id, PeerVisit.node_id, PeerVisit.began_at)
    old = [tuple(row) for row in tx.session.execute(select(*key).where(PeerVisit.last_at < before).limit(limit))]
    if old:
        gone = delete(PeerVisit).where(tuple_(*key).in_(old))
        tx.session.execute(gone.execution_options(synchronize_session=False))
    return len(old)
