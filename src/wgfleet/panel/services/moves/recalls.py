"""Recalls: clients that a node took back before it dropped them are called again.

It did so when it returned, or in a move that it was slow to hear of, or did not hear of at all. Whatever a node still
sends on an old session turns the client's endpoint to it. Who was turned is not known, and a call costs one packet, so
all that were taken over from it, but those that it dropped in time, are called once more from where they live now.
"""

from collections.abc import Collection, Mapping, Sequence

from wgfleet.panel import clock
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit, configs, generations, operations
from wgfleet.panel.services.fleet import taken_over
from wgfleet.panel.services.moves import relays, takeover_sources
from wgfleet.panel.services.moves.sleepers import ASLEEP_S
from wgfleet.panel.services.moves.takeovers import TakeoverCall
from wgfleet.panel.services.operations import subject
from wgfleet.panel.store import Tx, given_up, owed_recalls
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.chunks import together
from wgfleet.panel.store.tables import Config
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.addresses import address_of

ASKED_FOR_S = 600.0  # in which a node is asked again that could not be: its agent starts again, or the line is down


def due(tx: Tx, vault: Vault, subject_id: str, live_within_s: float) -> tuple[str, list[TakeoverCall]]:
    """Return the interface, and who is to call whom, for an assignment, or for a removal whose interface is gone.

    These are the clients of the last failover of a node out of use, and those of moves that ended before the node said
    that it dropped them, which it has by now. Of a removal all that it moved within a day: who was turned back has
    nobody left to shake hands with, however long ago that was.
    """
    assignment = assignment_rows.by_id(tx, subject_id)
    if assignment is None:
        removal = operation_rows.get(tx, subject_id)
        is_there = removal is not None and config_rows.find(tx, removal.config_id or "") is not None
        return late(tx, vault, subject_id, (), ASLEEP_S) if is_there else ("", [])
    config = configs.get(tx, assignment.config_id)
    lost = given_up.dropped(tx, assignment.node_id, config.id, assignment.applied_generation)
    if not assignment.health.in_use:
        lost |= taken_over.since_down(tx, assignment).keys()
    return config.name, _turned_back(tx, vault, config, {assignment.node_id: sorted(lost)}, live_within_s)


def applied(tx: Tx, assignment_id: str) -> int:
    """Return which generation an assignment's node has applied: what it has dropped by then is what `due` is about."""
    assignment = assignment_rows.by_id(tx, assignment_id)
    return 0 if assignment is None else assignment.applied_generation


def is_unasked(tx: Tx, subject_id: str) -> bool:
    """Tell whether the calls are to be tried again, where a node that was to make some could not be asked."""
    since = owed_recalls.since(tx, subject_id)
    return since is not None and clock.now() - since < ASKED_FOR_S


def record_answers(
    tx: Tx,
    subject_id: str,
    answered: Mapping[str, Mapping[str, str]],
    applied_generation: int,
    sources: Mapping[str, str] | None = None,
) -> None:
    """Write down who answered which node, and at which endpoint (by peer id), of an assignment or a removal.

    A node that had yet to drop peers, and had by `applied_generation`, may have them again. What it dropped since then
    is for the next time: those clients were not among the ones called. `sources`: the floating address that each was
    called from, where it was one.
    """
    assignment = assignment_rows.by_id(tx, subject_id)
    if applied(tx, subject_id) == applied_generation:
        owed_recalls.settle(tx, subject_id)
    if assignment is None:
        if answered and operation_rows.get(tx, subject_id) is not None:
            record_late(tx, subject_id, answered, sources)
        return
    dropped = given_up.dropped(tx, assignment.node_id, assignment.config_id, applied_generation)
    if dropped:
        generation = generations.bump(tx, assignment.config_id, topic=Topic.PEERS)
        given_up.settle(tx, assignment.node_id, dropped, applied_generation)
        peer_rows.touch(tx, dropped, generation)
    _arrived(tx, answered, sources)
    if answered:
        about = subject(assignment.config_id, assignment.node_id)
        audit.record(tx, audit.PANEL, "recalled", "config_node", about, clients=sum(map(len, answered.values())))


def late(
    tx: Tx, vault: Vault, operation_id: str, in_time: Collection[str], live_within_s: float
) -> tuple[str, list[TakeoverCall]]:
    """Return the interface, and who is to call whom: the clients that an operation moved, but those `in_time`."""
    operation = operations.get(tx, operation_id)
    config = configs.get(tx, operation.config_id or "")
    taken = set(operation_rows.taken_over(tx, operation_id)) - set(in_time)
    taken -= relays.relayed(tx, operation, taken)
    moves = operation_rows.moves(tx, operation_id)
    lost = together({peer_id: moves[peer_id].from_node_id for peer_id in sorted(taken)})
    return config.name, _turned_back(tx, vault, config, lost, live_within_s)


def _turned_back(
    tx: Tx, vault: Vault, config: Config, lost: Mapping[str, Sequence[str]], live_within_s: float
) -> list[TakeoverCall]:
    """Return who is to call the peers that nodes (by id) lost to others, and may have turned back since."""
    sources = takeover_sources.of_config(tx, vault, config.id)
    holding = takeover_sources.holding(tx, config.id)
    serving = _serving(tx, config.id)
    since = clock.steady() - live_within_s
    calls = []
    for from_node_id, taken in lost.items():
        from_node = node_rows.find(tx, from_node_id)
        relayed_at = frozenset() if from_node is None else frozenset(from_node.endpoint_addresses)
        # Nobody calls a peer that is disabled or restricted by now: no node has it.
        keys = {peer.id: peer.public_key for peer in operation_rows.moving_peers(tx, taken) if peer.admitted}
        peer_ids = list(keys)
        seen = session_rows.latest(tx, peer_ids)
        # Not where they were seen last, which may be the node itself; but that says whether they live, and where.
        for peer_id, session in session_rows.latest(tx, peer_ids, on=serving - {from_node_id}).items():
            endpoint, known = seen[peer_id].endpoint or session.endpoint, session.called_from
            if endpoint is None or seen[peer_id].latest_handshake < since:
                continue
            if address_of(endpoint) in relayed_at:  # it knows no other address, so nothing turns it
                continue
            source = holding.get(known or "")
            if source is None or source.node_id not in serving - {from_node_id}:
                source = sources.choose(from_node_id, endpoint, 0, session.node_id, known=known)
            if source is not None:
                calls.append(TakeoverCall(peer_id, keys[peer_id], endpoint, source.node_id, source.address))
    return calls


def record_late(
    tx: Tx,
    operation_id: str,
    answered: Mapping[str, Mapping[str, str]],
    sources: Mapping[str, str] | None = None,
) -> None:
    """Write down who answered which node, and at which endpoint (by peer id). `sources`: as in `record_answers`."""
    _arrived(tx, answered, sources)
    about, clients = operations.get(tx, operation_id).subject, sum(map(len, answered.values()))
    audit.record(tx, audit.PANEL, "recalled", "config_node", about, clients=clients)


def _arrived(tx: Tx, answered: Mapping[str, Mapping[str, str]], called_from: Mapping[str, str] | None) -> None:
    for node_id, endpoints in answered.items():
        # Where it is not said, they were called from the address that they answered to before.
        known = session_rows.latest(tx, endpoints, on={node_id})
        sources = {peer_id: session.called_from for peer_id, session in known.items() if session.called_from}
        session_rows.arrived(tx, node_id, endpoints, clock.steady(), sources | dict(called_from or {}))


def _serving(tx: Tx, config_id: str) -> set[str]:
    return {
        assignment.node_id
        for assignment, _ in assignment_rows.of_config(tx, config_id)
        if assignment.phase == Phase.SERVING and assignment.health.in_use
    }
