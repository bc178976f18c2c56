"""Chains of relays: a client is relayed by the node that it sends to, and that may lead to a node that relays it again.

The node with the session sees the last of them only. Which rows stand for relays that a client hangs on follows from
where each leads.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping

from wgfleet.panel.store import Tx
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import relays as relay_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.protocol.addresses import address_of


def in_use(tx: Tx, peer_ids: Collection[str], since: float = float("-inf")) -> set[tuple[str, str]]:
    """Return (peer id, node id) of all relays that some peers hang on whose sessions were alive at `since` or later."""
    at = node_rows.ids_by_address(tx) if peer_ids else {}
    leads: dict[str, dict[str, str | None]] = defaultdict(dict)
    for peer_id, node_id, target in relay_rows.targets(tx, peer_ids):
        leads[peer_id][node_id] = at.get(address_of(target))
    found = set[tuple[str, str]]()
    for peer_id, session in session_rows.latest(tx, list(peer_ids)).items():
        if session.endpoint and session.latest_handshake >= since:
            last = at.get(address_of(session.endpoint))
            if last is not None and last != session.node_id:
                found |= {(peer_id, node_id) for node_id in _leading_to(last, session.node_id, leads[peer_id])}
    return found


def _leading_to(last: str, serving: str, leads: Mapping[str, str | None]) -> set[str]:
    """Return the nodes from which a client comes to the relay `last`, and that one (pure)."""
    chain, added = {last}, True
    while added:
        more = {node for node, to in leads.items() if to in chain and node != serving} - chain
        chain |= more
        added = bool(more)
    return chain
