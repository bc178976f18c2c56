"""Homes for peers: which nodes may have them, and the placement written down."""

from collections.abc import Collection, Sequence

from wgfleet.panel.domain.observations import Health
from wgfleet.panel.domain.placement import Candidate, Placement, Unplaced, place
from wgfleet.panel.services.desired import FENCED, SERVING
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import node_groups as group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.protocol.ids import NodeGroupId, NodeId, PeerId

NO_GROUP_PRIORITY = 1_000_000  # nodes without a group come after all groups


def candidates(tx: Tx, config_id: str, *, without: Collection[str] = (), well: bool = False) -> list[Candidate]:
    """Return the nodes that may get homes of a config: those that serve it, with the load they have of all configs.

    `well`: only those that nothing is said against, where there are any. A suspect node may be dead and only kept by
    the floor, and one without its agent calls nobody: no places for sessions that are on their way.
    """
    in_use = [
        (assignment.health, node)
        for assignment, node in assignment_rows.of_config(tx, config_id)
        if assignment.phase == SERVING and assignment.health not in FENCED and node.id not in without
    ]
    best = [node for health, node in in_use if health == Health.SERVING] if well else []
    serving = best or [node for _, node in in_use]
    loads = node_rows.home_counts(tx, [node.id for node in serving])
    priorities = group_rows.priorities(tx, {node.group_id for node in serving if node.group_id})
    return [
        Candidate(
            node_id=NodeId(node.id),
            group_id=NodeGroupId(node.group_id) if node.group_id else None,
            priority=priorities[node.group_id] if node.group_id else NO_GROUP_PRIORITY,
            weight=node.weight,
            capacity=node.capacity,
            load=loads.get(node.id, 0),
            cordoned=node.cordoned,
        )
        for node in serving
    ]


def choose(peers: Sequence[tuple[str, str | None]], nodes: Sequence[Candidate], *, overflow: bool = False) -> Placement:
    """Place (peer id, wanted group) on nodes."""
    wanted = [Unplaced(PeerId(peer), NodeGroupId(group) if group else None) for peer, group in peers]
    return place(wanted, nodes, overflow=overflow)


def settle_homeless(tx: Tx, config_id: str) -> int:
    """Give a home to each peer of a config that has none, now that there are nodes; returns how many got one."""
    homeless = peer_rows.homed_on(tx, None, config_id)
    nodes = candidates(tx, config_id) if homeless else []
    if not nodes:
        return 0
    placement = choose(homeless, nodes, overflow=True)
    peer_rows.rehome(tx, placement.homes)
    return len(placement.homes)
