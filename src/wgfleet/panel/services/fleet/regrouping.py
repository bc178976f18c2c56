"""Effects on peers that may use some nodes only of another node group of a node: sentences beforehand."""

from wgfleet.panel.domain import peer_counts
from wgfleet.panel.services.fleet import peer_nodes
from wgfleet.panel.services.fleet.peer_nodes import Losers
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Node
from wgfleet.protocol.reasons import Reason


def effects(tx: Tx, node: Node, former_group_id: str | None) -> list[str]:
    """Say who may no longer use a node that is in another group than before, and who is cut off by that."""
    if node.group_id == former_group_id:
        return []
    return [
        sentence
        for each in peer_nodes.losers(tx, node, former_group_id, peer_counts.NAMED)
        for sentence in _said(node, each)
    ]


def _said(node: Node, losers: Losers) -> list[str]:
    said: list[str] = [
        Reason(
            "{peers} of {config!r} may no longer use {node!r}: it lets in nobody of them, and files for it no longer "
            "work",
            peers=peer_counts.in_words(losers.number),
            config=losers.config,
            node=node.name,
        )
    ]
    alone = losers.stranded
    if alone.number:
        said.append(
            Reason(
                "{peers} of {config!r} may then use no node at all: {names}",
                peers=peer_counts.in_words(alone.number),
                config=losers.config,
                names=peer_counts.names_in_words(alone.names, alone.number),
            )
        )
    return said
