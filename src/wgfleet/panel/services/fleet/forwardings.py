"""Forwarding, as the agents of nodes found it out: written down, told, and who has to hear of it."""

from collections.abc import Sequence

from wgfleet.panel.domain import forwarding
from wgfleet.panel.domain.forwarding import ForwardingFound
from wgfleet.panel.services import audit, operations
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Assignment
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.messages import Forwarding


def _rows(found: Sequence[Forwarding]) -> list[ForwardingFound]:
    return [ForwardingFound(version=each.version, state=each.state.value, why=each.why) for each in found]


def is_news(assignment: Assignment, found: Sequence[Forwarding]) -> bool:
    """Whether a report says something else than the one before it; one that says nothing takes nothing back."""
    fresh = _rows(found)
    return bool(fresh) and fresh != assignment.forwarding


def said(tx: Tx, assignment: Assignment, found: Sequence[Forwarding]) -> None:
    """Write down what an agent found out. Its node is chosen less, or again, where that changes."""
    if not is_news(assignment, found):
        return
    fresh = _rows(found)
    failed, fails = forwarding.fails(assignment.forwarding), forwarding.fails(fresh)
    assignment_rows.applied(tx, assignment.id, forwarding=fresh)
    if failed == fails:
        return
    whole = forwarding.overall(fresh)
    audit.record(
        tx, audit.PANEL, "forwarding_failed" if fails else "forwarding_repaired", "config_node",
        operations.subject(assignment.config_id, assignment.node_id), reason=None if whole is None else whole.why,
    )  # fmt: skip
    tx.wake(Topic.ASSIGNMENT, assignment.id)
    tx.wake(Topic.FLOATING, assignment.config_id)
