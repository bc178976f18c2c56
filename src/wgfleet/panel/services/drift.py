"""What nodes have that they should not, or lack; as their agents last reported."""

from wgfleet.panel.store import Tx
from wgfleet.panel.store import drift as rows
from wgfleet.panel.store.tables import Assignment, Config, Node


def listing(tx: Tx) -> list[tuple[Assignment, Config, Node]]:
    """Return every assignment with drift, with its config and node."""
    return rows.listing(tx)
