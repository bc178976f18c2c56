"""Changes that have not reached a node: how many, whom it may still let in, since when, and why.

A revocation is a peer that was deleted, disabled or got new keys, or whose config was disabled: a node that has not
applied that may still serve it.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

from wgfleet.panel import clock
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit, operations
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Assignment, Config, Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason

LATE_S = 10.0  # a node that is well has everything within a second or two
NAMES = 100  # in an audit entry


@dataclass(frozen=True, slots=True)
class Owed:
    """Changes of a config that a node has not applied.

    `assignment_id` is None where the node is no longer assigned and has yet to delete the interface. `peers`: to be
    added or changed; `revocations`: names of peers that it may still let in. `late`: for longer than a node that is
    well needs.
    """

    assignment_id: str | None
    config: Config
    node: Node
    generations: int
    peers: int
    revocations: tuple[str, ...]
    since: float
    late: bool
    reason: str


class _Missed(NamedTuple):
    """What a generation lacks: how many changed peers, who lost access or a key, and when the first of these did."""

    peers: int
    revocations: tuple[str, ...]
    since: float | None


def of_config(tx: Tx, config_id: str) -> list[Owed]:
    """Return what the nodes of a config have not applied, by the nodes' names."""
    return _read(tx, config_id)


def everywhere(tx: Tx) -> list[Owed]:
    """Return what any node has not applied, by the names of configs and nodes."""
    return _read(tx, None)


def _read(tx: Tx, config_id: str | None) -> list[Owed]:
    missed = cache(partial(_missed, tx))  # nodes that fell silent together lack the same
    found = [
        _of_assignment(_lacks(missed, assignment, config), assignment, config, node)
        for assignment, config, node in assignment_rows.behind(tx, config_id)
        if assignment.phase != Phase.REMOVED and assignment.applied_generation < config.generation
    ]
    for owed, config, node in assignment_rows.owing_cleanups(tx, config_id):
        lacks = missed(config, owed.generation)
        late = clock.now() - owed.created_at > LATE_S
        reason = Reason("the node has yet to delete its interface, and may serve users until it has")
        reason = reason if node.connected else Reason("{what}; {why}", what=reason, why=node.summary)
        since = min(lacks.since or owed.created_at, owed.created_at)
        behind = config.generation - owed.generation
        found.append(Owed(None, config, node, behind, lacks.peers, lacks.revocations, since, late, reason))
    return found


def _lacks(missed: Callable[[Config, int], _Missed], assignment: Assignment, config: Config) -> _Missed:
    """Return what a node lacks. One that has confirmed nothing yet lacks all, but cannot let in who was gone before."""
    lacks = missed(config, assignment.applied_generation)
    if assignment.applied_generation or assignment.behind_generation is None:
        return lacks
    return missed(config, assignment.behind_generation)._replace(peers=lacks.peers)


def _of_assignment(lacks: _Missed, assignment: Assignment, config: Config, node: Node) -> Owed:
    now = clock.now()
    since = min(lacks.since or now, assignment.behind_since or now)
    return Owed(
        assignment_id=assignment.id,
        config=config,
        node=node,
        generations=config.generation - assignment.applied_generation,
        peers=lacks.peers,
        revocations=lacks.revocations,
        since=since,
        late=now - since > LATE_S,
        reason=assignment.summary if node.connected else node.summary,
    )


def _missed(tx: Tx, config: Config, generation: int) -> _Missed:
    buried = peer_rows.revoked_since(tx, config.id, generation)
    peers, disabled = peer_rows.owed_upserts(tx, config.id, generation)
    lost = [*(row.name for row in buried if row.name), *disabled]
    if not config.enabled and generation < config.disabled_generation:
        lost += peer_rows.admitted_names(tx, config.id)
    return _Missed(peers, tuple(dict.fromkeys(lost)), buried[0].at if buried else None)


def newly_late(tx: Tx, told: AbstractSet[str]) -> list[Owed]:
    """Return what has become late and was not told of yet; read it where nobody waits for the transaction to end.

    `told`: the ids of the assignments whose lateness is in the audit log.
    """
    late = {
        assignment.id: config.id for assignment, config, _ in assignment_rows.behind(tx) if _is_late(assignment, config)
    }
    of_configs = {config_id for assignment_id, config_id in late.items() if assignment_id not in told}
    found = [owed for config_id in sorted(of_configs) for owed in of_config(tx, config_id)]
    return [owed for owed in found if owed.assignment_id in late and owed.assignment_id not in told]


def note(tx: Tx, told: set[str], late: Sequence[Owed]) -> None:
    """Write down since when assignments are behind, and audit what is late, and what has arrived after all.

    `late` is what `newly_late` found; `told` is kept up to date.
    """
    now = clock.now()
    found = {owed.assignment_id: owed for owed in late}
    for assignment, config, _ in assignment_rows.behind(tx):
        missing = _is_missing(assignment, config)
        if not missing or assignment.behind_since is None or _has_reached(assignment):
            since, generation = (now, config.generation) if missing else (None, None)
            assignment_rows.applied(tx, assignment.id, behind_since=since, behind_generation=generation)
            if assignment.id in told:
                told.discard(assignment.id)
                _tell(tx, "changes_arrived", assignment, config, {})
        elif (owed := found.get(assignment.id)) is not None:
            told.add(assignment.id)
            details = {"node": owed.node.name, "reason": owed.reason, "generations": owed.generations}
            _tell(tx, "changes_do_not_arrive", assignment, config, details | _named(owed.revocations))


def _is_missing(assignment: Assignment, config: Config) -> bool:
    return assignment.applied_generation < config.generation and assignment.phase != Phase.REMOVED


def _has_reached(assignment: Assignment) -> bool:
    """Tell whether it has what it was found to lack."""
    return assignment.applied_generation >= (assignment.behind_generation or 0)


def _is_late(assignment: Assignment, config: Config) -> bool:
    since = assignment.behind_since
    behind = _is_missing(assignment, config) and not _has_reached(assignment)
    return behind and since is not None and clock.now() - since > LATE_S


def _named(names: Sequence[str]) -> dict[str, object]:
    return {"revocations": len(names), "still_served": list(names[:NAMES])}


def _tell(tx: Tx, action: str, assignment: Assignment, config: Config, details: dict[str, object]) -> None:
    about = operations.subject(assignment.config_id, assignment.node_id)
    audit.record(tx, audit.PANEL, action, "config_node", about, config=config.name, **details)
    tx.wake(Topic.ASSIGNMENT, assignment.id)


def worth_noting(tx: Tx, told: set[str]) -> bool:
    """Tell whether `note` would write anything, so that a fleet where nothing is behind costs no write."""
    return bool(told) or bool(assignment_rows.behind(tx))
