"""Homes for peers: which nodes may have them, and the placement written down."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from wgfleet.panel import clock
from wgfleet.panel.domain import forwarding
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.placement.place import DEFAULT_PRIORITY, Candidate, Placement, Strategy, Unplaced, place
from wgfleet.panel.services.fleet import loads
from wgfleet.panel.store import Tx, homes
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import node_groups as node_group_rows
from wgfleet.panel.store import peer_nodes as peer_node_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import placement as placement_rows
from wgfleet.protocol.ids import NodeGroupId, NodeId, PeerId


def candidates(tx: Tx, config_id: str, *, without: Collection[str] = (), well: bool = False) -> list[Candidate]:
    """Return the nodes that may get homes of a config: those that serve it, with the load they have of all configs.

    `well`: only those that nothing is said against, where there are any. A suspect node may be dead and only kept by
    the floor, and one without its agent calls nobody: no places for sessions that are on their way.
    """
    in_use = [
        node for node in placement_rows.serving_nodes(tx, config_id) if node.health.in_use and node.id not in without
    ]
    best = [node for node in in_use if node.health == Health.SERVING] if well else []
    serving = best or in_use
    if not serving:
        return []
    counts, now = homes.of_nodes(tx, [node.id for node in serving]), clock.now()
    return [
        Candidate(
            node_id=NodeId(node.id),
            group_id=NodeGroupId(node.group_id) if node.group_id else None,
            priority=DEFAULT_PRIORITY if node.priority is None else node.priority,
            weight=node.weight,
            capacity=node.capacity,
            load=counts.get(node.id, 0),
            cordoned=node.cordoned,
            region=node.region or "",
            busy=loads.share(node.cpu, node.memory, node.bandwidth, node.said_at, now),
            forwards=not forwarding.fails(node.forwarding),
        )
        for node in serving
    ]


def cordoned(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes of a config that shall get no homes as planned."""
    return {node.id for _, node in assignment_rows.of_config(tx, config_id) if node.cordoned}


def unplaced(
    tx: Tx,
    config_id: str,
    peers: Iterable[tuple[str, str | None]],
    usable: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> list[Unplaced]:
    """Return a config's (peer id, wanted group) as placement takes them. `usable`: of those that have no row yet."""
    found = list(peers)
    groups = node_group_rows.by_ids(tx, {group for _, group in found if group})
    only = {**peer_node_rows.of_config(tx, config_id), **usable} if found else {}
    return [
        Unplaced(
            PeerId(peer),
            NodeGroupId(group) if group else None,
            groups[group].region if group else "",
            only.get(peer),
        )
        for peer, group in found
    ]


def strategy(tx: Tx, config_id: str) -> Strategy:
    """Return how a config's new homes are chosen."""
    config = config_rows.find(tx, config_id)
    return Strategy(config.placement) if config is not None else Strategy.LEAST_PEERS


def choose(
    tx: Tx,
    config_id: str,
    peers: Iterable[tuple[str, str | None]],
    nodes: Sequence[Candidate],
    *,
    overflow: bool = False,
    by: Strategy | None = None,
    usable: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> Placement:
    """Place a config's (peer id, wanted group) on nodes, by its strategy; `by`: that, where it is known.

    `usable` as of `unplaced`.
    """
    wanted = unplaced(tx, config_id, peers, usable)
    return place(wanted, nodes, overflow=overflow, strategy=by or strategy(tx, config_id))


def place_homeless(tx: Tx, config_id: str) -> int:
    """Give a home to each peer of a config that has none, now that there are nodes; returns how many got one."""
    homeless = peer_rows.homed_on(tx, None, config_id)
    nodes = candidates(tx, config_id) if homeless else []
    if not nodes:
        return 0
    placement = choose(tx, config_id, homeless, nodes, overflow=True)
    peer_rows.rehome(tx, placement.homes)
    return len(placement.homes)
