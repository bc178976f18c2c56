"""Rows of batches of peers that are being made, a slice in each transaction."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import delete as delete_rows
from sqlalchemy import func, select, update

from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Peer, PeerBatch

GIVEN_UP = 0.0  # as the time at which a batch last went on: it is being undone


def add(tx: Tx, batch: PeerBatch) -> None:
    """Add a batch."""
    tx.session.add(batch)
    tx.session.flush()


def touch(tx: Tx, batch_id: str, at: float) -> bool:
    """Lock a batch and set when it last went on; False where there is none, or it is given up."""
    goes_on = update(PeerBatch).where(PeerBatch.id == batch_id, PeerBatch.touched_at != GIVEN_UP)
    return tx.connection.scalar(goes_on.values(touched_at=at).returning(PeerBatch.id)) is not None


def give_up(tx: Tx, batch_id: str) -> bool:
    """Lock a batch and have nobody go on with it, for good; False where there is none."""
    query = update(PeerBatch).where(PeerBatch.id == batch_id).values(touched_at=GIVEN_UP).returning(PeerBatch.id)
    return tx.connection.scalar(query) is not None


def find(tx: Tx, batch_id: str) -> PeerBatch | None:
    """Return a batch, or None."""
    return tx.session.get(PeerBatch, batch_id, populate_existing=True)


def set_peers(tx: Tx, batch_id: str, peer_ids: Sequence[str]) -> None:
    """Set which peers a batch has, once it makes no more."""
    tx.connection.execute(update(PeerBatch).where(PeerBatch.id == batch_id).values(peer_ids=list(peer_ids)))


def set_tags(tx: Tx, batch_id: str, tag_ids: Sequence[str]) -> None:
    """Set which tags were made for a batch."""
    tx.connection.execute(update(PeerBatch).where(PeerBatch.id == batch_id).values(tag_ids=list(tag_ids)))


def are_under_way(tx: Tx, config_id: str) -> bool:
    """Tell whether a config has batches."""
    query = select(PeerBatch.id).where(PeerBatch.config_id == config_id).limit(1)
    return tx.connection.scalar(query) is not None


def unfinished(tx: Tx, config_id: str) -> list[set[str]]:
    """Return of each batch of a config the ids that its peers have or get."""
    query = select(PeerBatch.peer_ids).where(PeerBatch.config_id == config_id)
    return [set(ids) for ids in tx.connection.scalars(query)]


def last_number(tx: Tx, config_id: str, prefix: str) -> int | None:
    """Return the highest number that batches under way have for names with a prefix; None: there are none."""
    query = select(func.max(PeerBatch.last_number))
    query = query.where(PeerBatch.config_id == config_id, PeerBatch.name_prefix == prefix)
    return cast("int | None", tx.connection.scalar(query))


def all_under_way(tx: Tx) -> list[tuple[str, float]]:
    """Return the ids of all batches, and when each last went on."""
    rows = tx.connection.execute(select(PeerBatch.id, PeerBatch.touched_at).order_by(PeerBatch.id))
    return [(batch_id, touched_at) for batch_id, touched_at in rows]


def made(tx: Tx, peer_ids: Sequence[str], limit: int | None = None) -> list[str]:
    """Return the ids that peers have, or up to `limit` of them."""
    found: list[str] = []
    for chunk in chunked(peer_ids):
        found += tx.connection.scalars(select(Peer.id).where(Peer.id.in_(chunk)))
        if limit is not None and len(found) >= limit:
            break
    return found[:limit]


def delete(tx: Tx, batch_id: str) -> None:
    """Delete a batch."""
    tx.session.execute(delete_rows(PeerBatch).where(PeerBatch.id == batch_id))
