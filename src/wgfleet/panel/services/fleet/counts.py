"""Counts of everything there is, for metrics."""

from dataclasses import dataclass

from wgfleet.panel.store import Tx, homes
from wgfleet.panel.store import counts as count_rows


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts at one moment."""

    nodes: int
    connected: int
    witnesses: int
    witnesses_connected: int
    configs: int
    peers: int
    active_operations: int
    unheld_addresses: int
    failing_addresses: int
    paused_configs: int


def check(tx: Tx) -> None:
    """Raise `Unavailable` where the database does not answer."""
    count_rows.check(tx)


def health(tx: Tx) -> dict[str, int]:
    """Count assignments by health."""
    return count_rows.health(tx)


def agents(tx: Tx) -> dict[str, int]:
    """Count agents by version."""
    return count_rows.agents(tx)


def clocks(tx: Tx) -> dict[str, float]:
    """Return how far the clocks of nodes, by name, are ahead of the panel's."""
    return count_rows.clocks(tx)


def read(tx: Tx) -> Totals:
    """Count."""
    return Totals(
        nodes=count_rows.nodes(tx),
        connected=count_rows.connected_nodes(tx),
        witnesses=count_rows.witnesses(tx),
        witnesses_connected=count_rows.connected_witnesses(tx),
        configs=count_rows.configs(tx),
        peers=homes.of_all(tx),
        active_operations=count_rows.active_operations(tx),
        unheld_addresses=count_rows.unheld_addresses(tx),
        failing_addresses=count_rows.failing_addresses(tx),
        paused_configs=count_rows.paused(tx),
    )
