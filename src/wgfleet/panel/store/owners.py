"""Rows of peers by the user whose devices they are."""

from collections.abc import Sequence

from sqlalchemy import func, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Peer


def page(tx: Tx, owner_id: str, after: str | None, limit: int) -> list[str]:
    """Return the ids of up to `limit` devices of a user by ascending id, after the id `after`."""
    query = select(Peer.id).where(Peer.owner_id == owner_id).order_by(Peer.id).limit(limit)
    return list(tx.session.scalars(query.where(Peer.id > after) if after else query))


def owned(tx: Tx, owner_id: str) -> Sequence[Peer]:
    """Return all devices of a user, config by config: the order in which several are locked."""
    query = select(Peer).where(Peer.owner_id == owner_id).order_by(Peer.config_id, Peer.id)
    return tx.session.scalars(query, execution_options={"populate_existing": True}).all()


def config_ids(tx: Tx, owner_id: str) -> Sequence[str]:
    """Return the configs in which a user has devices, in the order in which several are locked."""
    query = select(Peer.config_id).where(Peer.owner_id == owner_id).distinct().order_by(Peer.config_id)
    return tx.session.scalars(query).all()


def counts(tx: Tx, owner_ids: Sequence[str]) -> dict[str, int]:
    """Return how many devices users have, by user id, of those that have any."""
    query = select(Peer.owner_id, func.count()).where(Peer.owner_id.in_(owner_ids)).group_by(Peer.owner_id)
    return {str(owner_id): count for owner_id, count in tx.session.execute(query)}
