"""Tables of peers carried out: new peers all or none, then changes line by line, of which each may be refused.

Thousands of changes take longer than a call may: an operation makes them, and goes on after a restart.
"""

from collections.abc import Mapping, Sequence

from wgfleet.panel.api import operations
from wgfleet.panel.api.operations import OperationView
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.api.peer_batches import PeerBatchCall
from wgfleet.panel.api.peer_table_plans import RowChange, TablePlan
from wgfleet.panel.api.peers import specs_of
from wgfleet.panel.domain.peer_table import WrongCell
from wgfleet.panel.errors import Conflict, Invalid, PanelError
from wgfleet.panel.services import configs, peer_changes, rule_sets, table_changes
from wgfleet.panel.services.access import limits, owners
from wgfleet.panel.services.access.callers import SECRETS, Caller
from wgfleet.panel.services.fleet import node_groups, peer_tables, peers, tags
from wgfleet.panel.services.fleet.node_reach import NodeReach
from wgfleet.panel.services.peer_changes import LINES
from wgfleet.panel.store import Tx
from wgfleet.panel.store.peer_changes import TableLine
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

MOST_AT_ONCE = 250
"""Changes that a call makes itself: a second or two."""


def carry_out(panel: Panel, caller: Caller, config: str, found: TablePlan) -> TablePlan:
    """Make the new peers, all or none, then change the others; return what was done, with what was refused."""
    done = TablePlan(same=found.same, wrong=list(found.wrong))
    by_operation = len(found.changes) > MOST_AT_ONCE
    if by_operation:
        with panel.store.read() as tx:
            peer_changes.check_none_runs(tx, configs.get(tx, config))
    if found.new:
        drafts = peers.draft(panel.vault, specs_of(panel, caller, found.new))
        try:
            PeerBatchCall(panel, caller, config).make(drafts)
        except (PanelError, FieldError) as error:
            raise _of_line(error, found.lines) from None
        done.new, done.lines = found.new, found.lines
    if by_operation:
        done.operation = _begin(panel, caller, config, found.changes)
        done.changes = found.changes
    else:
        _change(panel, caller, found.changes, done)
    return done


def _begin(panel: Panel, caller: Caller, config: str, changes: Sequence[RowChange]) -> OperationView:
    with panel.store.write() as tx:
        operation = table_changes.start(tx, caller.actor, configs.get(tx, config), _lines(tx, caller, changes))
        tx.refresh(operation)
        return operations.view(tx, operation)


def _change(panel: Panel, caller: Caller, changes: Sequence[RowChange], done: TablePlan) -> None:
    hosts = panel.hosts() if any("networks" in each.changes for each in changes) else {}
    for first in range(0, len(changes), LINES):
        part = changes[first : first + LINES]
        try:
            _make(panel, caller, part, hosts)
            done.changes += part
        except (PanelError, FieldError):  # one of them; nothing of the slice was done
            for each in part:
                try:
                    _make(panel, caller, [each], hosts)
                    done.changes.append(each)
                except (PanelError, FieldError) as error:
                    done.wrong.append(WrongCell(each.line, (error.field or "").partition("[")[0], error.detail))


def _make(panel: Panel, caller: Caller, changes: Sequence[RowChange], hosts: Mapping[str, str]) -> None:
    with panel.store.write() as tx:
        table_changes.make(tx, panel.vault, caller.actor, _lines(tx, caller, changes), hosts)


def _lines(tx: Tx, caller: Caller, changes: Sequence[RowChange]) -> list[TableLine]:
    """Return changes with ids in the place of names, as far as the caller may name them."""
    groups: dict[str, str] = {}
    owner_ids: dict[str, str] = {}
    sets: set[str] = set()
    found = []
    reach = NodeReach(tx, caller.limit, [each.peer_id for each in changes if "nodes" in each.changes])
    for each in changes:
        group, owner = each.changes.get("group"), each.changes.get("owner")
        if group and group not in groups:
            limits.check_named_group(tx, caller.limit, group)
            groups[group] = node_groups.named(tx, group, "group").id
        if "owner" in each.changes:
            caller.need(SECRETS, "giving a peer an owner")
        if owner and owner not in owner_ids:
            owner_ids[owner] = owners.named(tx, caller, owner)
        if (rule_set := each.changes.get("rule_set")) and rule_set not in sets:
            rule_sets.check_named(tx, caller.limit, each.changes)
            sets.add(rule_set)
        tags.check_named(tx, caller.limit, each.changes.get("tags") or (), "tags")
        said = reach.changed(each.peer_id, each.changes)
        values = table_changes.resolved(said, groups.get(group or ""), owner_ids.get(owner or ""))
        found.append(TableLine(each.peer_id, each.line, values))
    return found


def _of_line(error: PanelError | FieldError, lines: Sequence[int]) -> PanelError:
    """Return a refusal of new peers as one of the table, that names the line."""
    at = peer_tables.place(error.field or "")
    if at is None or at[0] >= len(lines):
        return error if isinstance(error, PanelError) else Invalid(error.detail, field="table")
    return Conflict(
        Reason("line {line}, {column}: {error}; nothing was made", line=lines[at[0]], column=at[1], error=error.detail),
        field="table",
    )
