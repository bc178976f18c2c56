"""Changes of the nodes that many peers of an independent config may use: said beforehand, then made slice by slice."""

from collections.abc import Mapping, Sequence

from wgfleet.panel.domain import peer_counts
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.operations import PeerChangeOptions
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.services import audit, operations
from wgfleet.panel.services.fleet import node_reach, peer_nodes
from wgfleet.panel.store import Tx
from wgfleet.panel.store import peer_nodes as peer_node_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.peer_nodes import Places
from wgfleet.panel.store.tables import Config, Operation
from wgfleet.protocol.reasons import Reason, words_of


def checked(tx: Tx, config: Config, nodes: Sequence[str]) -> Places | None:
    """Return the nodes and node groups that peers of a config shall use, none: all; refuse what they cannot."""
    peer_nodes.every(config)
    return peer_nodes.parsed(tx, config, nodes) if nodes else None


def noticed(
    tx: Tx, config: Config, peer_ids: Sequence[str], nodes: Sequence[str], within: Sequence[str] | None = None
) -> list[str]:
    """Say what it means, and for how many nothing is different. `within`: see `PeerChangeOptions`."""
    places = checked(tx, config, nodes)
    before = peer_node_rows.of_peers(tx, peer_ids)
    kinds = _kinds(tx, places, before, peer_ids, within)
    same = sum(before.get(peer_id) == some for some, ids in kinds.items() for peer_id in ids)
    what = Reason("all nodes") if places is None else ", ".join(peer_nodes.names(tx, places))
    said: list[str] = []
    if changed := len(peer_ids) - same:
        said.append(
            Reason(
                "{peers} may use {nodes} only from now on: other nodes let in nobody of them, and files for these no "
                "longer work",
                peers=peer_counts.in_words(changed),
                nodes=what,
            )
            if places is not None
            else Reason("{peers} may use all nodes", peers=peer_counts.in_words(changed))
        )
    if keep := sum(len(ids) for some, ids in kinds.items() if some != places):
        said.append(
            Reason("{peers}: nodes outside of your node groups stay as they are", peers=peer_counts.in_words(keep))
        )
    if same:
        said.append(Reason("{peers} of them may use just these already", peers=peer_counts.in_words(same)))
    return said


def change(tx: Tx, operation: Operation, config: Config, peer_ids: Sequence[str]) -> dict[str, str]:
    """Change some peers."""
    options = operations.options_of(operation, PeerChangeOptions)
    try:
        places = checked(tx, config, options.nodes or ())
    except (Conflict, Invalid) as error:  # one has left the config meanwhile
        raise NotFound(words_of(error)) from error
    before = peer_node_rows.of_peers(tx, peer_ids)
    for some, ids in _kinds(tx, places, before, peer_ids, options.within).items():
        for peer in peer_nodes.put(tx, config, peer_rows.by_ids(tx, ids), some):
            audit.record(
                tx, operation.requested_by, "updated", "peer", peer.id,
                name=peer.name, changed=[peer_nodes.FIELD], operation=operation.id,
            )  # fmt: skip
    return {}


def _kinds(
    tx: Tx,
    places: Places | None,
    before: Mapping[str, Places],
    peer_ids: Sequence[str],
    within: Sequence[str] | None,
) -> dict[Places | None, list[str]]:
    """Return which peers are to use what: these places, and those outside of a limit that each has already."""
    limit = None if within is None else Limit(groups=frozenset(within))
    known: dict[Places, Places] = {}
    found: dict[Places | None, list[str]] = {}
    for peer_id in peer_ids:
        some = places
        if places is not None and limit is not None and (had := before.get(peer_id)) is not None:
            if had not in known:
                known[had] = node_reach.outside(tx, limit, had)
            some = places | known[had]
        found.setdefault(some, []).append(peer_id)
    return found
