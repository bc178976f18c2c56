"""The nodes that must hear of a change. May name too many, never too few: a node that is missed serves stale peers."""

from collections.abc import Iterable, Mapping

from wgfleet.protocol.ids import ConfigId, NodeId


def affected(
    changed: Iterable[ConfigId],
    before: Mapping[ConfigId, frozenset[NodeId]],
    after: Mapping[ConfigId, frozenset[NodeId]],
) -> frozenset[NodeId]:
    """Return every node that carries, or carried, one of the changed configs.

    In a cluster a peer is on every node, and in an independent config on every node that it may use, so the nodes
    of the config, old and new, are the smallest answer that needs no look at the peers.
    """
    nothing: frozenset[NodeId] = frozenset()
    return frozenset().union(*(before.get(c, nothing) | after.get(c, nothing) for c in changed))
