"""The one row of what there is once in an installation."""

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Authority


def authority(tx: Tx) -> Authority | None:
    """Return the CA's row, locked against a second panel that starts at the same moment."""
    return tx.session.get(Authority, 1, with_for_update=True)


def add_authority(tx: Tx, row: Authority) -> None:
    """Add the CA's row."""
    tx.session.add(row)
    tx.session.flush()
