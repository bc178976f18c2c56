"""Rules of who is limited to node groups on the nodes that peers use: those of these groups may be said, no others.

Nodes and node groups outside of the limit are neither given nor taken away: those that a peer has stay with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services.fleet import peer_nodes
from wgfleet.panel.store import Tx
from wgfleet.panel.store import peer_nodes as peer_node_rows
from wgfleet.panel.store.peer_nodes import Places
from wgfleet.protocol.reasons import Reason


def reached(
    tx: Tx, limit: Limit | None, before: Places | None, wanted: Sequence[str] | None, field: str = peer_nodes.FIELD
) -> Sequence[str] | None:
    """Return what a peer that uses `before` (None: all nodes) is to use, where a caller wants these; or refuse it."""
    if limit is None:
        return wanted
    if wanted is None:
        if before is not None:
            check_all(limit, field)
        return None
    had = before or frozenset()
    names = peer_node_rows.names(tx, had)
    found = {_place(tx, limit, had, names, each, field) for each in wanted}
    return sorted(found | outside(tx, limit, had))


def check_all(limit: Limit | None, field: str = peer_nodes.FIELD) -> None:
    """Refuse that peers may use all nodes, those outside of a limit among them."""
    if limit is not None:
        said = Reason(
            "you see some node groups only, and cannot let peers use all nodes; name those of yours that they may use"
        )
        raise Invalid(said, field=field)


def outside(tx: Tx, limit: Limit | None, places: Iterable[str]) -> Places:
    """Return those of some nodes and node groups that are not within a limit, or are gone."""
    if limit is None:
        return frozenset()
    return frozenset(each for each in places if peer_nodes.chosen(tx, each, peer_nodes.FIELD, limit) == (None, None))


class NodeReach:
    """What a caller may say of the nodes that peers use, who may be limited to some node groups."""

    def __init__(self, tx: Tx, limit: Limit | None, peer_ids: Sequence[str]) -> None:
        self._tx, self._limit = tx, limit
        self._had = peer_node_rows.of_peers(tx, peer_ids)

    def had(self, peer_id: str) -> Places:
        """Return what a peer is limited to; nothing where it may use all nodes."""
        return self._had.get(peer_id, frozenset())

    def check_new(self, values: Mapping[str, Any]) -> None:
        """Refuse nodes of a new peer that are outside of the limit."""
        peer_nodes.check_named(self._tx, self._limit, values.get("nodes") or ())

    def changed(self, peer_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return changes of a peer with what stays of its nodes, or without any of these; refuse what is outside."""
        if self._limit is None or "nodes" not in changes:
            return dict(changes)
        had = self._had.get(peer_id)
        places = reached(self._tx, self._limit, had, changes["nodes"] or None)
        if places is None or frozenset(places) == had:
            return {name: value for name, value in changes.items() if name != "nodes"}
        return {**changes, "nodes": list(places)}


def _place(tx: Tx, limit: Limit, had: Places, names: Mapping[str, str], reference: str, field: str) -> str:
    node, group = peer_nodes.chosen(tx, reference, field, limit)
    if (found := node or group) is not None:
        return found.id
    kept = next((each for each in sorted(had) if reference in {each, names.get(each)}), None)
    if kept is None:
        raise peer_nodes.unknown(reference, field)
    return kept
