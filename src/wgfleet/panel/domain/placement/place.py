"""The choice of peers' homes: group first, then the node with the least peers for its weight, or the least busy one.

Pure, and the same answer for the same input. Must not ask whether a node is fit to serve: callers leave out those that
are not.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from heapq import heapify, heappop, heapreplace
from typing import TypeVar

from wgfleet.panel.domain.forwarding import preferred
from wgfleet.protocol.ids import NodeGroupId, NodeId, PeerId

DEFAULT_PRIORITY = 100  # of a group that says nothing else, and of nodes without a group: they share
LEAST_SHARE = 0.001  # of a machine that a peer is taken to need at least: idle nodes fill up beside each other


class Strategy(StrEnum):
    """How a new home is chosen. All go by groups first; `NEAREST_GROUP` also by the region of the peer's group."""

    LEAST_PEERS = "least_peers"
    LEAST_LOAD = "least_load"
    NEAREST_GROUP = "nearest_group"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that may take peers. `priority` is its group's: lower is filled first.

    `load` counts the peers that it is home to, `capacity` how many it should have at most (None: no limit). A node of
    twice the `weight` gets twice the peers. One with a weight or a capacity of 0 gets none, one that is `cordoned` only
    where there is no other. `busy` is how much of its machine is in use, as a share of 1 (None: not known).
    `forwards`: it is not proven that users' packets do not get through it; one where it is gets peers where all are so.
    """

    node_id: NodeId
    group_id: NodeGroupId | None
    priority: int
    weight: float
    capacity: int | None
    load: int
    cordoned: bool = False
    region: str = ""
    busy: float | None = None
    forwards: bool = True


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A peer that needs a home, and the group that it would rather be in, which is in `region` (empty: nowhere).

    `usable`: ids of the nodes and node groups that it may use; None: all.
    """

    peer_id: PeerId
    group_id: NodeGroupId | None
    region: str = ""
    usable: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """The new homes, and the peers that no node has room for, in the order in which they came."""

    homes: dict[PeerId, NodeId]
    left: tuple[PeerId, ...]


_Key = TypeVar("_Key")
_Wish = tuple[NodeGroupId | None, frozenset[str] | None]


def may_use(usable: Collection[str] | None, node_id: str, group_id: str | None) -> bool:
    """Tell whether a peer may use a node, which is in a node group; `usable` as of `Unplaced`."""
    return usable is None or node_id in usable or (group_id is not None and group_id in usable)


Burden = Callable[[Candidate, int], float]
"""The cost of one more peer on a node with that many."""


def place(
    peers: Sequence[Unplaced],
    candidates: Iterable[Candidate],
    *,
    overflow: bool = False,
    strategy: Strategy = Strategy.LEAST_PEERS,
) -> Placement:
    """Find a home for each peer in O(P log N).

    Peers go to their own group while it has room; all others, and those that found none there, go to the nodes by
    priority, where those of equal priority count as one group; by `NEAREST_GROUP` to those of their region before.
    Within each the node with the least (load + 1) / weight is next, by `LEAST_LOAD` the least busy one, each new peer
    counted as what a peer needs on average. With `overflow`, peers that no node has room for are spread over all
    nodes in proportion to their capacity, instead of being left. Those that may use some nodes only come first.
    """
    limited: defaultdict[frozenset[str], list[Unplaced]] = defaultdict(list)
    for peer in peers:
        if peer.usable is not None:
            limited[peer.usable].append(peer)
    if not limited:
        return _place(peers, list(candidates), overflow=overflow, strategy=strategy)
    nodes, homes = list(candidates), dict[PeerId, NodeId]()
    for usable, some in limited.items():
        theirs = [node for node in nodes if may_use(usable, node.node_id, node.group_id)]
        found = _place(some, theirs, overflow=overflow, strategy=strategy).homes
        homes |= found
        nodes = _with_more(nodes, found)
    others = [peer for peer in peers if peer.usable is None]
    homes |= _place(others, nodes, overflow=overflow, strategy=strategy).homes
    return Placement(homes, tuple(peer.peer_id for peer in peers if peer.peer_id not in homes))


def _with_more(nodes: Iterable[Candidate], homes: Mapping[PeerId, NodeId]) -> list[Candidate]:
    gained = Counter(homes.values())
    return [replace(node, load=node.load + gained[node.node_id]) for node in nodes]


def _place(
    peers: Sequence[Unplaced], candidates: Sequence[Candidate], *, overflow: bool, strategy: Strategy
) -> Placement:
    """Place peers that may use all of the candidates."""
    able = [c for c in candidates if c.weight > 0 and c.capacity != 0]
    forwarding = preferred(able, lambda c: not c.forwards)
    usable = sorted(preferred(forwarding, lambda c: c.cordoned), key=_priority)
    loads = {candidate.node_id: candidate.load for candidate in usable}
    burden = _by_busyness(usable) if strategy is Strategy.LEAST_LOAD else _by_weight
    homes: dict[PeerId, NodeId] = {}

    wishes: defaultdict[NodeGroupId, list[PeerId]] = defaultdict(list)
    for peer in peers:
        if peer.group_id is not None:
            wishes[peer.group_id].append(peer.peer_id)
    members = _grouped(usable, lambda candidate: candidate.group_id)
    for group_id, wishing in wishes.items():
        _fill(homes, loads, wishing, _with_room(members.get(group_id, ()), loads), burden)
    if strategy is Strategy.NEAREST_GROUP:
        _fill_regions(homes, loads, peers, usable)

    left = [peer.peer_id for peer in peers if peer.peer_id not in homes]
    for tier in _grouped(usable, _priority).values():
        left = _fill(homes, loads, left, _with_room(tier, loads), burden)
    if overflow:
        left = _fill(homes, loads, left, usable, _by_capacity, bounded=False)
    return Placement(homes, tuple(left))


def _fill_regions(
    homes: dict[PeerId, NodeId], loads: dict[NodeId, int], peers: Sequence[Unplaced], usable: Sequence[Candidate]
) -> None:
    """Give peers that found no room in their group to nodes of its region, by priority."""
    wishes: defaultdict[str, list[PeerId]] = defaultdict(list)
    for peer in peers:
        if peer.region and peer.peer_id not in homes:
            wishes[peer.region].append(peer.peer_id)
    nearby = _grouped(usable, lambda candidate: candidate.region)
    for region, wishing in wishes.items():
        left = wishing
        for tier in _grouped(nearby.get(region, ()), _priority).values():
            left = _fill(homes, loads, left, _with_room(tier, loads), _by_weight)


def spread(
    peers: Sequence[Unplaced],
    homes: Mapping[PeerId, NodeId],
    candidates: Iterable[Candidate],
    strategy: Strategy = Strategy.LEAST_PEERS,
) -> dict[PeerId, NodeId]:
    """Return the fewest new homes that spread peers as if all were placed from scratch in O(P log N).

    `homes` has where they are now; the load of the candidates is without them. Done twice, the second changes nothing,
    so how busy nodes are does not count: it follows the peers with delay, and they would go to and fro.
    """
    steady = Strategy.LEAST_PEERS if strategy is Strategy.LEAST_LOAD else strategy
    wanted = place(peers, candidates, overflow=True, strategy=steady).homes
    groups = {peer.peer_id: (peer.group_id, peer.usable) for peer in peers}
    quotas = Counter((groups[peer_id], node_id) for peer_id, node_id in wanted.items())
    movers: list[PeerId] = []
    for peer_id in wanted:
        place_now = groups[peer_id], homes.get(peer_id)
        if place_now[1] is not None and quotas[(place_now[0], place_now[1])] > 0:
            quotas[(place_now[0], place_now[1])] -= 1
        else:
            movers.append(peer_id)
    free: defaultdict[_Wish, list[NodeId]] = defaultdict(list)
    for (group_id, node_id), count in sorted(quotas.items(), key=lambda item: item[0][1]):
        free[group_id] += [node_id] * count
    return {peer_id: free[groups[peer_id]].pop() for peer_id in movers}


def _fill(
    homes: dict[PeerId, NodeId],
    loads: dict[NodeId, int],
    peers: Sequence[PeerId],
    nodes: Sequence[Candidate],
    burden: Burden,
    *,
    bounded: bool = True,
) -> list[PeerId]:
    """Give peers to nodes, the least burdened first, and return those that are left when all nodes are full."""
    # Nodes of equal burden: by id, so that the answer is always the same.
    heap = [(burden(node, loads[node.node_id]), node.node_id, node) for node in nodes]
    heapify(heap)
    for index, peer_id in enumerate(peers):
        if not heap:
            return list(peers[index:])
        _, node_id, node = heap[0]
        homes[peer_id] = node_id
        loads[node_id] += 1
        if bounded and not _has_room(node, loads[node_id]):
            heappop(heap)
        else:
            heapreplace(heap, (burden(node, loads[node_id]), node_id, node))
    return []


def _by_weight(node: Candidate, load: int) -> float:
    return (load + 1) / node.weight


def _by_busyness(nodes: Sequence[Candidate]) -> Burden:
    """Return the burden by how busy nodes are: their machine's share in use, and that of the peers placed meanwhile.

    A node that does not say how busy it is counts as the average of those that do; where none does, it is the peers.
    """
    known = {node.node_id: node.busy for node in nodes if node.busy is not None}
    if not known:
        return _by_weight
    average = sum(known.values()) / len(known)
    used = sum(node.weight * known[node.node_id] for node in nodes if node.node_id in known)
    each = max(LEAST_SHARE, used / max(1, sum(node.load for node in nodes if node.node_id in known)))

    def burden(node: Candidate, load: int) -> float:
        return known.get(node.node_id, average) + each * (load - node.load + 1) / node.weight

    return burden


def _by_capacity(node: Candidate, load: int) -> float:
    # Only nodes that are full overflow, and those have a capacity.
    return (load + 1) / (node.capacity or 1)


def _has_room(node: Candidate, load: int) -> bool:
    return node.capacity is None or load < node.capacity


def _with_room(nodes: Iterable[Candidate], loads: dict[NodeId, int]) -> list[Candidate]:
    return [node for node in nodes if _has_room(node, loads[node.node_id])]


def _priority(node: Candidate) -> int:
    return node.priority


def _grouped(nodes: Iterable[Candidate], key: Callable[[Candidate], _Key]) -> dict[_Key, list[Candidate]]:
    groups: defaultdict[_Key, list[Candidate]] = defaultdict(list)
    for node in nodes:
        groups[key(node)].append(node)
    return groups
