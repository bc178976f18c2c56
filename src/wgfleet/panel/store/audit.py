"""The audit log's rows. They are added and read, never changed."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import AuditEntry


def add(tx: Tx, entry: AuditEntry) -> None:
    """Add an entry."""
    tx.session.add(entry)


def page(tx: Tx, filters: dict[str, str], limit: int, offset: int) -> tuple[Sequence[AuditEntry], int]:
    """Return the newest entries whose columns equal `filters`, and how many there are in all."""
    where: list[Any] = [getattr(AuditEntry, column) == value for column, value in filters.items()]
    total = tx.session.scalar(select(func.count()).select_from(AuditEntry).where(*where)) or 0
    query = select(AuditEntry).where(*where).order_by(AuditEntry.id.desc()).limit(limit).offset(offset)
    return tx.session.scalars(query).all(), total
