"""The nodes that peers of independent configs may use: all of the config's, or some nodes and node groups.

A peer keeps an address in the slice of each node, so the file for one that it may use again later is the same.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.domain.placement.place import may_use
from wgfleet.panel.errors import Conflict, Invalid
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import generations
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.services.fleet import placement
from wgfleet.panel.store import Tx, new_files
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import node_groups as node_group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import peer_nodes as peer_node_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.peer_nodes import Places
from wgfleet.panel.store.tables import Assignment, Config, Node, NodeGroup, Peer
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.ids import PeerId
from wgfleet.protocol.reasons import Reason

FIELD = "nodes"
MAX_PLACES = 100


class Stranded(NamedTuple):
    """Peers that may use a node, and none of the others that serve: the first names, and the number of all."""

    names: list[str]
    number: int


NOBODY = Stranded([], 0)


def chosen(tx: Tx, reference: str, field: str, within: Limit | None = None) -> tuple[Node | None, NodeGroup | None]:
    """Return the node, or else the node group, of an id or name; neither where there is none `within` a limit."""
    node, group = node_rows.find(tx, reference), node_group_rows.find(tx, reference)
    if within is not None:
        node = node if node is not None and node.group_id in within.groups else None
        group = group if group is not None and group.id in within.groups else None
    if node is not None and group is not None:
        raise Conflict(
            Reason(
                "{reference!r} is a node and a node group; give the id of the one that is meant", reference=reference
            ),
            field=field,
        )
    return node, group


def check_named(tx: Tx, limit: Limit | None, references: Iterable[str], field: str = FIELD) -> None:
    """Refuse nodes and node groups that are not within a limit, as those that there are none of."""
    if limit is not None:
        for reference in references:
            if chosen(tx, reference, field, limit) == (None, None):
                raise unknown(reference, field)


def unknown(reference: str, field: str) -> Invalid:
    """Return the refusal of what is neither a node nor a node group."""
    hints = Hint(HintCode.LIST_NODES), Hint(HintCode.LIST_NODE_GROUPS)
    return Invalid(Reason("there is no node and no node group {reference!r}", reference=reference), *hints, field=field)


def every(config: Config, field: str = FIELD) -> None:
    """Refuse a config whose peers are not limited to nodes: else nothing, which stands for all nodes."""
    if config.mode != INDEPENDENT:
        said = Reason(
            "config {config!r} is a cluster: each of its nodes serves every peer; `group` says which a peer prefers",
            config=config.name,
        )
        raise Invalid(said, field=field)


def parsed(
    tx: Tx, config: Config, references: Sequence[str], field: str = FIELD, *, kept: Places = frozenset()
) -> Places:
    """Return the ids of the nodes and node groups that peers of a config shall use, or name what is wrong.

    `kept`: those that they have already, which may have left the config, or be gone.
    """
    every(config, field)
    if not references:
        raise Invalid(Reason("name a node or a node group; null: all nodes"), field=field)
    if len(references) > MAX_PLACES:
        said = Reason("must be at most {most}, not {count}; use node groups", most=MAX_PLACES, count=len(references))
        raise Invalid(said, field=field)
    having = {assignment.node_id for assignment, _ in assignment_rows.of_config(tx, config.id)} | kept
    return frozenset(_place(tx, config, each, having, field) for each in references)


def _place(tx: Tx, config: Config, reference: str, having: Collection[str], field: str) -> str:
    node, group = chosen(tx, reference, field)
    if group is not None:
        return group.id
    if node is None and reference in having:
        return reference
    if node is None:
        raise unknown(reference, field)
    if node.id not in having:
        raise Invalid(
            Reason("config {config!r} is not assigned to node {node!r}", config=config.name, node=node.name),
            Hint(HintCode.LIST_CONFIG_NODES, config=config.name),
            field=field,
        )
    return node.id


def of_new(
    tx: Tx, config: Config, wanted: Iterable[tuple[str, Sequence[str] | None, Places, str]]
) -> dict[str, Places]:
    """Return what new peers may use: of (peer id, references, `kept` as of `parsed`, how fields begin in errors)."""
    known: dict[tuple[tuple[str, ...], Places], Places] = {}
    found: dict[str, Places] = {}
    for peer_id, references, kept, at in wanted:
        if references is not None:
            key = (tuple(references), kept)
            if key not in known:
                known[key] = parsed(tx, config, key[0], f"{at}{FIELD}", kept=kept)
            found[peer_id] = known[key]
    return found


def put(tx: Tx, config: Config, peers: Collection[Peer], places: Places | None) -> list[Peer]:
    """Have peers of a config use these nodes and node groups only (None: all nodes); return those that did not.

    Who has its home elsewhere gets another one.
    """
    before = peer_node_rows.of_peers(tx, [peer.id for peer in peers])
    changed = [peer for peer in peers if before.get(peer.id) != places]
    if changed:
        rerouted = any(peer.networks for peer in changed)
        generation = generations.bump(tx, config.id, settings=rerouted, topic=Topic.PEERS)
        peer_node_rows.put(tx, {peer.id: places for peer in changed})
        _mark_files(tx, config, {peer.id: before.get(peer.id) for peer in changed}, places)
        for peer in changed:
            peer.generation = generation
        tx.flush()
        _rehome(tx, config.id, [peer.id for peer in changed])
        for peer in changed:
            tx.refresh(peer)
    return changed


def _mark_files(tx: Tx, config: Config, before: Mapping[str, Places | None], places: Places | None) -> None:
    """Have it noted that files of peers are out of date that may lead to a node which they may no longer use."""
    nodes = [node for _, node in assignment_rows.of_config(tx, config.id)]
    kept = _nodes_of(places, nodes)
    new_files.of_peers(tx, [peer_id for peer_id, some in before.items() if _nodes_of(some, nodes) - kept])


def _nodes_of(places: Places | None, nodes: Sequence[Node]) -> set[str]:
    return {node.id for node in nodes if may_use(places, node.id, node.group_id)}


def _rehome(tx: Tx, config_id: str, peer_ids: Collection[str]) -> None:
    """Give another home to those of some peers who may not use theirs, or have none; where none is left, none."""
    places = peer_node_rows.of_peers(tx, peer_ids)
    nodes = {node.id: node for _, node in assignment_rows.of_config(tx, config_id)}
    lost = []
    for peer in peer_rows.by_ids(tx, peer_ids):
        home = nodes.get(peer.home_node_id or "")
        if home is None or not may_use(places.get(peer.id), home.id, home.group_id):
            lost.append((peer.id, peer.group_id))
    if not lost:
        return
    placed = placement.choose(tx, config_id, lost, placement.candidates(tx, config_id), overflow=True)
    peer_rows.rehome(tx, {PeerId(peer_id): placed.homes.get(PeerId(peer_id)) for peer_id, _ in lost})  # type: ignore[arg-type]


def usable(tx: Tx, peer_id: str, nodes: Iterable[Node]) -> list[Node]:
    """Return those of some nodes that a peer may use, in their order."""
    places = peer_node_rows.of_peers(tx, [peer_id]).get(peer_id)
    return [node for node in nodes if may_use(places, node.id, node.group_id)]


def barred(tx: Tx, config: Config, node_id: str) -> set[str]:
    """Return the ids of the peers of a config that may not use a node."""
    places = peer_node_rows.of_config(tx, config.id) if config.mode == INDEPENDENT else {}
    if not places or (node := node_rows.find(tx, node_id)) is None:
        return set()
    return {peer_id for peer_id, some in places.items() if not may_use(some, node.id, node.group_id)}


def group_changed(tx: Tx, node: Node, former_group_id: str | None) -> None:
    """Have the nodes hear of peers that may use a node now, or may no more, as it is in another node group."""
    groups = {former_group_id, node.group_id}
    of_node = [config for _, config in assignment_rows.of_node(tx, node.id) if config.mode == INDEPENDENT]
    for config in sorted(of_node, key=lambda config: config.id):
        places = peer_node_rows.of_config(tx, config.id)
        concerned = [peer_id for peer_id, some in places.items() if some & groups]
        if concerned:
            generation = generations.bump(tx, config.id, settings=True)
            peer_rows.touch(tx, concerned, generation)
            _rehome(tx, config.id, concerned)
            lost = [peer_id for peer_id in concerned if not may_use(places[peer_id], node.id, node.group_id)]
            new_files.of_peers(tx, lost)


def stranded(tx: Tx, config: Config, node: Node, most: int) -> Stranded:
    """Return who may use a node of a config, and none of the others that serve it."""
    if config.mode != INDEPENDENT:
        return NOBODY
    others = [
        other
        for assignment, other in assignment_rows.of_config(tx, config.id)
        if other.id != node.id and _is_there(assignment)
    ]
    kinds: dict[Places, bool] = {}
    found = []
    for peer_id, places in peer_node_rows.of_config(tx, config.id).items():
        if places not in kinds:
            left = any(may_use(places, other.id, other.group_id) for other in others)
            kinds[places] = may_use(places, node.id, node.group_id) and not left
        if kinds[places]:
            found.append(peer_id)
    return Stranded(peer_node_rows.first_names(tx, found, most), len(found)) if found else NOBODY


class Losers(NamedTuple):
    """Peers of a config that may no longer use a node: their number, and of these who may use no other that serves."""

    config: str
    number: int
    stranded: Stranded


def losers(tx: Tx, node: Node, former_group_id: str | None, most: int) -> list[Losers]:
    """Return who may no longer use a node, as it is in another node group than before."""
    found = []
    for _, config in assignment_rows.of_node(tx, node.id):
        places = peer_node_rows.of_config(tx, config.id)
        lost = [
            peer_id
            for peer_id, some in places.items()
            if may_use(some, node.id, former_group_id) and not may_use(some, node.id, node.group_id)
        ]
        if lost:
            serving = [each for assignment, each in assignment_rows.of_config(tx, config.id) if _is_there(assignment)]
            alone = [peer_id for peer_id in lost if not _nodes_of(places[peer_id], serving)]
            stranded = Stranded(peer_node_rows.first_names(tx, alone, most), len(alone)) if alone else NOBODY
            found.append(Losers(config.name, len(lost), stranded))
    return found


def _is_there(assignment: Assignment) -> bool:
    return assignment.phase in {Phase.JOINING, Phase.SERVING}


def names_of(tx: Tx, peer_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the names of the nodes and node groups that peers may use; those that may use all are left out.

    One that is gone has its id: a peer with nothing else may use none, which is not all.
    """
    places = peer_node_rows.of_peers(tx, peer_ids)
    names = peer_node_rows.names(tx, {each for some in places.values() for each in some}) if places else {}
    return {peer_id: sorted(names.get(each, each) for each in some) for peer_id, some in places.items()}


def names(tx: Tx, places: Collection[str]) -> list[str]:
    """Return the names of nodes and node groups by their ids, sorted."""
    return sorted(peer_node_rows.names(tx, places).values())
