"""Rows of node groups."""

from collections.abc import Collection, Sequence

from sqlalchemy import or_, select

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Node, NodeGroup, Peer


def add(tx: Tx, group: NodeGroup) -> None:
    """Add a group."""
    tx.session.add(group)
    tx.session.flush()


def find(tx: Tx, reference: str) -> NodeGroup | None:
    """Return the group of that id or name."""
    return tx.session.scalar(select(NodeGroup).where(or_(NodeGroup.id == reference, NodeGroup.name == reference)))


def page(tx: Tx, after: str | None, limit: int, within: Limit | None = None) -> Sequence[NodeGroup]:
    """Return groups in the order they were made, after the id `after`."""
    query = select(NodeGroup).order_by(NodeGroup.id).limit(limit)
    if within is not None:
        query = query.where(NodeGroup.id.in_(within.groups))
    return tx.session.scalars(query.where(NodeGroup.id > after) if after else query).all()


def by_ids(tx: Tx, group_ids: Collection[str]) -> dict[str, NodeGroup]:
    """Return groups by their ids."""
    if not group_ids:
        return {}
    return {group.id: group for group in tx.session.scalars(select(NodeGroup).where(NodeGroup.id.in_(group_ids)))}


def nodes(tx: Tx, group_id: str) -> Sequence[Node]:
    """Return the group's nodes in the order they were made."""
    return tx.session.scalars(select(Node).where(Node.group_id == group_id).order_by(Node.id)).all()


def node_names(tx: Tx, group_id: str) -> Sequence[str]:
    """Return the names of the group's nodes."""
    return tx.session.scalars(select(Node.name).where(Node.group_id == group_id).order_by(Node.name)).all()


def has_peers(tx: Tx, group_id: str) -> bool:
    """Say whether a peer prefers the group."""
    return tx.session.scalar(select(Peer.id).where(Peer.group_id == group_id).limit(1)) is not None


def delete(tx: Tx, group: NodeGroup) -> None:
    """Delete a group."""
    tx.session.delete(group)
    tx.session.flush()
