"""Rows of host names: the addresses that each was last found to have."""

from collections.abc import Collection

from sqlalchemy import delete, select

from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import HostName


def everything(tx: Tx) -> dict[str, HostName]:
    """Return all rows, by name."""
    return {row.name: row for row in tx.session.scalars(select(HostName))}


def get(tx: Tx, name: str) -> HostName | None:
    """Return a name's row, or None."""
    return tx.session.get(HostName, name)


def by_names(tx: Tx, names: Collection[str]) -> dict[str, HostName]:
    """Return the rows of those names that have one."""
    found: dict[str, HostName] = {}
    for chunk in chunked(names):
        found |= {row.name: row for row in tx.session.scalars(select(HostName).where(HostName.name.in_(chunk)))}
    return found


def add(tx: Tx, row: HostName) -> None:
    """Add a row."""
    tx.session.add(row)
    tx.session.flush()


def forget(tx: Tx, names: Collection[str]) -> None:
    """Delete the rows of names that nothing has any more."""
    for chunk in chunked(names):
        tx.session.execute(delete(HostName).where(HostName.name.in_(chunk)))
