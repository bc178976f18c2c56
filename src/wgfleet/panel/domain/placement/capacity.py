"""Capacity when a node dies: who would get its peers, and whether they would have room. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wgfleet.panel.domain.placement.place import Candidate, Strategy, Unplaced, place
from wgfleet.protocol.ids import ConfigId, NodeId

FEW = 20
"""Peers. What a machine with fewer does is mostly its own, so it does not say what they need."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a node has of one config: its peers, and the nodes that could have them instead."""

    config_id: ConfigId
    peers: Sequence[Unplaced]
    others: Sequence[Candidate]
    strategy: Strategy = Strategy.LEAST_PEERS


@dataclass(frozen=True, slots=True)
class Loss:
    """What the death of a node does. All of its configs fail over, so all of them count.

    `gained`: how many peers each other node gets. `overloaded`: by how many peers a node would be above its capacity.
    `homeless`: how many peers nobody could have, by config. `overworked`: which share of its machine a node would need,
    where that is more than all of it and the nodes say how busy they are.
    """

    gained: Mapping[NodeId, int]
    overloaded: Mapping[NodeId, int]
    homeless: Mapping[ConfigId, int]
    overworked: Mapping[NodeId, float]

    @property
    def holds(self) -> bool:
        """Whether the others would have room for all."""
        return not self.overloaded and not self.homeless and not self.overworked


def loss(shares: Sequence[Share], dead: Candidate | None = None) -> Loss:
    """Place all that a dead node had, config by config, as failovers do. `dead` tells what its peers needed."""
    gained: Counter[NodeId] = Counter()
    homeless: dict[ConfigId, int] = {}
    by_id: dict[NodeId, Candidate] = {}
    for share in shares:
        others = [replace(other, load=other.load + gained[other.node_id]) for other in share.others]
        placement = place(share.peers, others, overflow=True, strategy=share.strategy)
        gained.update(placement.homes.values())
        by_id |= {other.node_id: other for other in share.others}
        if placement.left:
            homeless[share.config_id] = len(placement.left)
    overloaded = {
        node_id: by_id[node_id].load + more - capacity
        for node_id, more in gained.items()
        if (capacity := by_id[node_id].capacity) is not None and by_id[node_id].load + more > capacity
    }
    return Loss(dict(gained), overloaded, homeless, _overworked(dead, by_id, gained))


def _overworked(
    dead: Candidate | None, others: Mapping[NodeId, Candidate], gained: Mapping[NodeId, int]
) -> dict[NodeId, float]:
    if dead is None or dead.busy is None or dead.load < FEW:
        return {}
    each = dead.busy * dead.weight / dead.load
    needed = {
        node_id: busy + each * more / others[node_id].weight
        for node_id, more in gained.items()
        if (busy := others[node_id].busy) is not None
    }
    return {node_id: share for node_id, share in needed.items() if share > 1}


def headroom(node: Candidate) -> int | None:
    """Return how many more peers a node has room for; None: no limit."""
    return None if node.capacity is None else max(0, node.capacity - node.load)
