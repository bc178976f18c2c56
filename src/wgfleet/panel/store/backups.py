"""Rows of backups."""

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import aliased

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Backup


def add(tx: Tx, backup: Backup) -> None:
    """Insert a backup."""
    tx.session.add(backup)
    tx.session.flush()


def get(tx: Tx, backup_id: str) -> Backup | None:
    """Return a backup, or None."""
    return tx.session.get(Backup, backup_id)


def of_operation(tx: Tx, operation_id: str) -> Backup | None:
    """Return the backup that an operation made, or None."""
    return tx.session.scalar(select(Backup).where(Backup.operation_id == operation_id))


def by_hand_beyond(tx: Tx, config_id: str, node_id: str, most: int) -> list[Backup]:
    """Return those that no operation made, of a config on a node, but for the `most` newest."""
    of_people = (Backup.config_id == config_id, Backup.node_id == node_id, Backup.operation_id.is_(None))
    query = select(Backup).where(*of_people).order_by(Backup.id.desc()).offset(most).limit(100)
    return list(tx.session.scalars(query))


def remove(tx: Tx, backup: Backup) -> None:
    """Delete a backup."""
    tx.session.delete(backup)


def page(
    tx: Tx, config_id: str | None, node_id: str | None, after: str | None, limit: int, within: Limit | None = None
) -> list[Backup]:
    """Return up to `limit` backups, newest first, after the id `after`."""
    query = select(Backup).order_by(Backup.id.desc()).limit(limit)
    if within is not None:
        query = query.where(Backup.config_id.in_(within.configs))
    if config_id is not None:
        query = query.where(Backup.config_id == config_id)
    if node_id is not None:
        query = query.where(Backup.node_id == node_id)
    if after is not None:
        query = query.where(Backup.id < after)
    return list(tx.session.scalars(query))


def forget(tx: Tx, before: float, limit: int) -> int:
    """Delete up to `limit` backups from before a time; the newest of each config and node stays. Returns how many."""
    later = aliased(Backup)
    newer = exists().where(later.config_id == Backup.config_id, later.node_id == Backup.node_id, later.id > Backup.id)
    query = select(Backup.id).where(Backup.created_at < before, newer)
    gone = tx.session.scalars(query.order_by(Backup.id).limit(limit)).all()
    tx.session.execute(delete(Backup).where(Backup.id.in_(gone)))
    return len(gone)
