"""Recalls: clients that a node took back when it returned, before it had to drop them, are called again.

Whatever a node still sends on an old session turns the client's endpoint to it. Who was turned is not known, and a call
costs one packet, so all that were taken over from it are called once more from where they live now.
"""

from collections.abc import Mapping

from wgfleet.panel import clock
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services.fleet import taken_over
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.services.operations import subject
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import sessions as session_rows


def due(tx: Tx, assignment_id: str, live_within_s: float) -> tuple[str, list[TakeoverCall]]:
    """Return the interface, and who is to call whom: the clients of the last failover of a node out of use."""
    assignment = assignment_rows.by_id(tx, assignment_id)
    if assignment is None or assignment.health.in_use:
        return "", []
    config = configs.get(tx, assignment.config_id)
    peers = taken_over.since_down(tx, assignment)
    serving = {
        other.node_id
        for other, _ in assignment_rows.of_config(tx, config.id)
        if other.phase == Phase.SERVING and other.health.in_use
    }
    # Not where they were seen last: that may be the node itself, which has called them before it was fenced.
    latest = session_rows.latest(tx, list(peers), on=serving)
    since = clock.steady() - live_within_s
    return config.name, [
        TakeoverCall(peer_id, peers[peer_id], session.endpoint, session.node_id, session.called_from)
        for peer_id, session in latest.items()
        if session.endpoint and session.latest_handshake >= since
    ]


def record_answers(tx: Tx, assignment_id: str, answered: Mapping[str, Mapping[str, str]]) -> None:
    """Write down who answered which node, and at which endpoint (by peer id)."""
    for node_id, endpoints in answered.items():
        session_rows.arrived(tx, node_id, endpoints, clock.steady())
    assignment = assignment_rows.by_id(tx, assignment_id)
    if assignment is not None:
        about = subject(assignment.config_id, assignment.node_id)
        audit.record(tx, audit.PANEL, "recalled", "config_node", about, clients=sum(map(len, answered.values())))
