"""Limits of one peer as people ask for them: what counts for it, how far it is; and a reset by hand."""

from wgfleet.panel import clock
from wgfleet.panel.services import audit
from wgfleet.panel.services.jobs import decisions
from wgfleet.panel.services.jobs.decisions import LimitDecision
from wgfleet.panel.store import Tx
from wgfleet.panel.store import jobs as job_rows
from wgfleet.panel.store.tables import Peer


def of_peer(tx: Tx, peer: Peer) -> LimitDecision:
    """Return what is decided on a peer now."""
    return decisions.decide(tx, clock.now(), peer_ids=[peer.id])[0]


def reset(tx: Tx, actor: str, peer: Peer) -> LimitDecision:
    """Have what a peer used until now count no more for its limits, and do at once what follows. Usage stays known."""
    before = of_peer(tx, peer)
    job_rows.reset(tx, [(peer.id, before.peer.received, before.peer.sent, clock.now())])
    audit.record(tx, actor, "usage_reset", "peer", peer.id, name=peer.name)
    decisions.apply(tx, [of_peer(tx, peer)], clock.now())
    tx.refresh(peer)
    return of_peer(tx, peer)
