"""Peers whose live sessions other nodes took over when a node went down; they are theirs until it is in use again."""

from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.services.operations import subject
from wgfleet.panel.store import Tx
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Assignment


def since_down(tx: Tx, assignment: Assignment) -> dict[str, str]:
    """Return the peers that were taken over from a node that is out of use, by id, with their public keys.

    Also those that have shaken hands with it since: what it sent when it returned, before it was fenced, has done that.
    """
    operation = operation_rows.newest(tx, OperationKind.FAILOVER, subject(assignment.config_id, assignment.node_id))
    if operation is None or (assignment.flaps and operation.created_at < assignment.flaps[-1]):
        return {}  # nobody was moved this time
    return operation_rows.moved_live(tx, operation.id)
