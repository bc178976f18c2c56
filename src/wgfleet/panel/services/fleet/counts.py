"""How much there is of everything, for metrics."""

from dataclasses import dataclass

from wgfleet.panel.store import Tx
from wgfleet.panel.store import totals as rows


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts at one moment."""

    nodes: int
    connected: int
    configs: int
    peers: int
    active_operations: int
    unheld_addresses: int
    failing_addresses: int


def check(tx: Tx) -> None:
    """Raise `Unavailable` where the database does not answer."""
    rows.check(tx)


def health(tx: Tx) -> dict[str, int]:
    """Count assignments by health."""
    return rows.health(tx)


def read(tx: Tx) -> Totals:
    """Count."""
    return Totals(
        nodes=rows.nodes(tx),
        connected=rows.connected_nodes(tx),
        configs=rows.configs(tx),
        peers=rows.peers(tx),
        active_operations=rows.active_operations(tx),
        unheld_addresses=rows.unheld_addresses(tx),
        failing_addresses=rows.failing_addresses(tx),
    )
