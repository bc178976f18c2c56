"""Cordons: nodes that get no new homes."""

from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import audit, operations
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason


def cordon(tx: Tx, actor: str, node: Node) -> None:
    """Give a node no new homes; `Conflict` for a witness, which never has any."""
    if node.witness:
        raise Conflict(
            Reason("node {node!r} is a witness: it serves nobody, so there is nothing to keep from it", node=node.name)
        )
    _set_cordoned(tx, actor, node, cordoned=True)


def uncordon(tx: Tx, actor: str, node: Node) -> None:
    """Let a node have homes again; drains of it that have not ended stop where they are."""
    _set_cordoned(tx, actor, node, cordoned=False)
    for _, config in assignment_rows.of_node(tx, node.id):
        drain = operation_rows.newest(tx, OperationKind.DRAIN, operations.subject(config.id, node.id))
        if drain is not None and drain.finished_at is None:
            operations.wake(tx, drain)


def _set_cordoned(tx: Tx, actor: str, node: Node, *, cordoned: bool) -> None:
    if node.cordoned is not cordoned:
        node.cordoned = cordoned
        audit.record(tx, actor, "cordoned" if cordoned else "uncordoned", "node", node.id, name=node.name)
        tx.wake(Topic.NODE, node.id)
