"""Reasons against the deletion of a node: its configs, and what it has left to do."""

from wgfleet.panel import clock
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services.fleet import relay_chains
from wgfleet.panel.store import Tx
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import relays as relay_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Node
from wgfleet.protocol.observed import LIVE_S
from wgfleet.protocol.reasons import Reason

NAMED = 5  # clients, in a sentence


def check(tx: Tx, node: Node, *, force: bool = False) -> None:
    """Raise `Conflict` while a node still has a config; without `force`, also while it has something left to do."""
    names = node_rows.config_names(tx, [node.id])[node.id]
    if names:
        raise Conflict(
            Reason("node {node!r} is still assigned to {names}", node=node.name, names=", ".join(names)),
            Hint(HintCode.UNASSIGN_NODE, config=names[0], node=node.name),
        )
    owed = node_rows.owed_interfaces(tx, node.id)
    if owed and not force:
        raise Conflict(
            Reason(
                "node {node!r} could not be reached and still has to delete {owed} when it returns "
                "(forced, the panel goes on asking its agent for a month)",
                node=node.name,
                owed=", ".join(owed),
            ),
            Hint(HintCode.WAIT_FOR_NODE, node=node.name),
            Hint(HintCode.FORCE),
        )
    hanging = relayed(tx, node)
    if hanging and not force:
        raise Conflict(
            Reason(
                "node {node!r} relays live clients, who cannot be moved any more once it is deleted: {hanging}; "
                "wait until they have come to other nodes",
                node=node.name,
                hanging=hanging,
            ),
            Hint(HintCode.FORCE),
        )


def relayed(tx: Tx, node: Node) -> str:
    """Return who is live through a relay of a node, some by name; "" for nobody."""
    since, rows = clock.steady() - LIVE_S, relay_rows.listing(tx, node_id=node.id)
    used = relay_chains.in_use(tx, [row.peer_id for row in rows], since)
    names = {row.peer_name for row in rows if (row.peer_id, node.id) in used}
    found = sorted(names.union(session_rows.seen_at(tx, node.endpoint_addresses, node.id, since)))
    return ", ".join(found[:NAMED]) + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")
