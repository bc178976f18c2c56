"""Rows of endpoint groups; one a config."""

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import EndpointGroup


def get(tx: Tx, config_id: str) -> EndpointGroup | None:
    """Return the config's group."""
    return tx.session.get(EndpointGroup, config_id)


def add(tx: Tx, group: EndpointGroup) -> None:
    """Add a group."""
    tx.session.add(group)
    tx.session.flush()


def delete(tx: Tx, group: EndpointGroup) -> None:
    """Delete a group."""
    tx.session.delete(group)
    tx.session.flush()
