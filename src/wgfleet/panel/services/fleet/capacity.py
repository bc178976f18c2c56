"""The room that the nodes of a config have for peers, now and when one of them dies. Reads only."""

from collections.abc import Mapping
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain import peer_counts
from wgfleet.panel.domain.placement.capacity import Loss, Share, headroom, loss
from wgfleet.panel.domain.placement.place import Candidate, Strategy
from wgfleet.panel.services.fleet import peer_nodes, placement
from wgfleet.panel.store import Tx, homes
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol.ids import ConfigId, NodeId
from wgfleet.protocol.reasons import Reason

NAMED = 20  # peers, in a warning


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """A serving node. `homes` and `live` are of the config, `load` and `headroom` of all (None: no limit).

    `busy` is the share of its machine in use (None: it does not say).
    """

    node: Node
    homes: int
    live: int
    load: int
    headroom: int | None
    busy: float | None
    loss: Loss


@dataclass(frozen=True, slots=True)
class ConfigCapacity:
    """The nodes that serve a config, and in words which deaths the others would not hold."""

    nodes: list[NodeCapacity]
    names: Mapping[NodeId, str]
    warnings: list[str]


def of_config(
    tx: Tx, config: Config, *, live_within_s: float | None, after: str | None = None, limit: int | None = None
) -> ConfigCapacity:
    """Tell what each serving node of a config has, and what its death would do to the others.

    Of many, a part can be asked for: up to `limit` after the one with the id `after`; each costs all of its peers.
    `live_within_s` None: sessions are not counted.
    """
    serving = {candidate.node_id: candidate for candidate in placement.candidates(tx, config.id)}
    carriers = [node for _, node in assignment_rows.of_config(tx, config.id) if node.id in serving]
    if limit is not None:
        carriers = sorted((node for node in carriers if after is None or node.id > after), key=lambda node: node.id)
        carriers = carriers[:limit]
    known: dict[str, list[Candidate]] = {config.id: list(serving.values())}
    names: dict[NodeId, str] = {}
    named: set[str] = set()
    found: list[NodeCapacity] = []
    homed = homes.in_config(tx, config.id)
    since = None if live_within_s is None else clock.steady() - live_within_s
    for node in carriers:
        shares = _shares(tx, NodeId(node.id), known, names, named)
        candidate = serving[NodeId(node.id)]
        found.append(
            NodeCapacity(
                node=node,
                homes=homed.get(node.id, 0),
                live=0 if since is None else len(session_rows.live_on(tx, node.id, config.id, since)),
                load=candidate.load,
                headroom=headroom(candidate),
                busy=candidate.busy,
                loss=loss(shares, candidate),
            )
        )
    return ConfigCapacity(found, names, [text for one in found for text in _warnings(tx, config, one, names)])


def _shares(
    tx: Tx, node_id: NodeId, known: dict[str, list[Candidate]], names: dict[NodeId, str], named: set[str]
) -> list[Share]:
    """Return what a node has of each config. `known`, `names` and `named` are filled with what was read of configs."""
    shares: list[Share] = []
    for _, config in assignment_rows.of_node(tx, node_id):
        if config.id not in known:
            known[config.id] = placement.candidates(tx, config.id)
        if config.id not in named:
            named.add(config.id)
            names.update({NodeId(node.id): node.name for _, node in assignment_rows.of_config(tx, config.id)})
        homed = peer_rows.homed_on(tx, node_id, config.id)
        peers = placement.unplaced(tx, config.id, homed)
        others = [candidate for candidate in known[config.id] if candidate.node_id != node_id]
        shares.append(Share(ConfigId(config.id), peers, others, Strategy(config.placement)))
    return shares


def _warnings(tx: Tx, config: Config, one: NodeCapacity, names: Mapping[NodeId, str]) -> list[str]:
    texts: list[str] = [
        Reason(
            "if node {node!r} fails, node {other!r} would exceed its capacity by {more} peers; "
            "raise it, or assign another node",
            node=one.node.name,
            other=names[node_id],
            more=more,
        )
        for node_id, more in sorted(one.loss.overloaded.items())
    ]
    texts += [
        Reason(
            "if node {node!r} fails, node {other!r} would need {share:.0%} of its processors, memory or "
            "uplink; assign another node",
            node=one.node.name,
            other=names[node_id],
            share=share,
        )
        for node_id, share in sorted(one.loss.overworked.items())
    ]
    stranded = peer_nodes.stranded(tx, config, one.node, NAMED)
    if stranded.number:
        texts.append(
            Reason(
                "if node {node!r} fails, {peers} may use no other of config {config!r}: {names}",
                node=one.node.name,
                peers=peer_counts.in_words(stranded.number),
                config=config.name,
                names=", ".join(stranded.names),
            )
        )
    homeless = one.loss.homeless.get(ConfigId(config.id), 0) - stranded.number
    if homeless > 0:
        texts.append(
            Reason(
                "if node {node!r} fails, no node has room for {homeless} peers of config {config!r}; assign another",
                node=one.node.name,
                homeless=homeless,
                config=config.name,
            )
        )
    return texts
