"""The load of nodes, as their agents report it: kept for placement, and for people."""

from collections.abc import Collection, Mapping

from wgfleet.panel import clock
from wgfleet.panel.store import Tx
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.nodes import LoadRow
from wgfleet.protocol.messages import Load

STALE_S = 60.0  # six reports of the agent: what is older says nothing of how busy a node is now


def report(tx: Tx, said: Mapping[str, Load]) -> None:
    """Keep what agents said, by node id; of nodes that are gone, nothing.

    Of the uplink the share of what the node is said to carry counts, else of the link.
    """
    if not said:
        return
    now, rows = clock.now(), []
    for node_id, mbps in sorted(node_rows.bandwidths(tx, said).items()):
        load = said[node_id]
        share = load.bandwidth_bps / (mbps * 1e6) if mbps else load.bandwidth
        rows.append(LoadRow(node_id, load.cpu, load.memory, share or 0.0, now))
    node_rows.set_loads(tx, rows)


def fresh(tx: Tx, node_ids: Collection[str]) -> Mapping[str, LoadRow]:
    """Return how busy nodes are; those that have not said so lately are left out."""
    now = clock.now()
    return {node_id: load for node_id, load in node_rows.loads(tx, node_ids).items() if abs(now - load.at) <= STALE_S}


def share(
    cpu: float | None, memory: float | None, bandwidth: float | None, said_at: float | None, now: float
) -> float | None:
    """Return the share of a machine in use, by what there is least left of; None where nothing was said lately."""
    if cpu is None or memory is None or bandwidth is None or said_at is None or abs(now - said_at) > STALE_S:
        return None
    return max(cpu, memory, bandwidth)


def busy(tx: Tx, node_ids: Collection[str]) -> dict[str, float]:
    """Return for each node the share of its machine in use, by what there is least left of."""
    return {node_id: max(load.cpu, load.memory, load.bandwidth) for node_id, load in fresh(tx, node_ids).items()}
