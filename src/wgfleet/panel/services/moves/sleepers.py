"""Sleepers: peers of a node that leaves which have been quiet for longer than a session lives.

Nothing of them has to move, so no operation waits for them. But one that sends again would send to that node for good,
so they are called where they were last seen: who is awake, and merely had nothing to say, comes along.
"""

from collections.abc import Collection, Mapping

from wgfleet.panel import clock
from wgfleet.panel.services import audit, configs, operations
from wgfleet.panel.services.moves import takeover_sources
from wgfleet.panel.services.moves.takeovers import Having, TakeoverCall
from wgfleet.panel.store import Tx
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.vault import Vault

ASLEEP_S = 24 * 3600.0  # somebody else may have the address of who was quiet for longer
MOST = 2000  # of an operation; those who were there last


def due(
    tx: Tx, vault: Vault, operation_id: str, *, live_within_s: float, reachable: Collection[str]
) -> tuple[str, list[TakeoverCall]]:
    """Return the interface, and who is to call whom. `reachable`: the nodes whose agents answer.

    Nobody where the node's clients know floating addresses, and find those at another node when they wake.
    """
    operation = operations.get(tx, operation_id)
    config, node_id = configs.get(tx, operation.config_id or ""), operation.node_id
    if node_id is None or config.mode != configs.CLUSTER:
        return config.name, []
    if takeover_sources.of_config(tx, vault, config.id).found.get(node_id):
        return config.name, []
    now = clock.steady()
    moves = operation_rows.moves(tx, operation_id)
    quiet = {
        seen.peer_id: seen
        for seen in session_rows.quiet_on(tx, node_id, config.id, now - ASLEEP_S, now - live_within_s)
        if seen.peer_id not in moves or not moves[seen.peer_id].live
    }
    having = Having(tx, config.id, reachable)
    calls = [
        TakeoverCall(peer.id, peer.public_key, quiet[peer.id].endpoint, peer.home_node_id, from_node_id=node_id)
        for peer in operation_rows.moving_peers(tx, quiet)
        if peer.admitted
        and peer.home_node_id is not None
        and peer.home_node_id != node_id
        and peer.home_node_id in having.well
        and having.peer(peer.home_node_id, peer)
    ]
    calls.sort(key=lambda call: quiet[call.peer_id].latest_handshake, reverse=True)
    return config.name, calls[:MOST]


def record(tx: Tx, operation_id: str, answered: Mapping[str, Mapping[str, str]]) -> None:
    """Write down who answered which node, and at which endpoint (by peer id)."""
    for node_id, endpoints in answered.items():
        session_rows.arrived(tx, node_id, endpoints, clock.steady())
    if clients := sum(map(len, answered.values())):
        about = operations.get(tx, operation_id).subject
        audit.record(tx, audit.PANEL, "recalled", "config_node", about, clients=clients)
