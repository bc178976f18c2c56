"""The load of nodes, as their agents report it: kept for placement, and for people."""

from collections.abc import Collection, Mapping

from wgfleet.panel import clock
from wgfleet.panel.store import Tx
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import NodeLoad
from wgfleet.protocol.messages import Load

STALE_S = 60.0  # six reports of the agent: what is older says nothing of how busy a node is now


def report(tx: Tx, node_id: str, load: Load) -> None:
    """Keep what an agent said. Of the uplink the share of what the node is said to carry counts, else of the link."""
    node = node_rows.find(tx, node_id)
    if node is None:
        return
    share = load.bandwidth_bps / (node.bandwidth_mbps * 1e6) if node.bandwidth_mbps else load.bandwidth
    node_rows.set_load(
        tx, NodeLoad(node_id=node_id, cpu=load.cpu, memory=load.memory, bandwidth=share or 0.0, at=clock.now())
    )


def fresh(tx: Tx, node_ids: Collection[str]) -> Mapping[str, NodeLoad]:
    """Return how busy nodes are; those that have not said so lately are left out."""
    now = clock.now()
    return {node_id: load for node_id, load in node_rows.loads(tx, node_ids).items() if abs(now - load.at) <= STALE_S}


def busy(tx: Tx, node_ids: Collection[str]) -> dict[str, float]:
    """Return for each node the share of its machine in use, by what there is least left of."""
    return {node_id: max(load.cpu, load.memory, load.bandwidth) for node_id, load in fresh(tx, node_ids).items()}
