"""Plans of tables of peers: which rows are new peers, which change some, what is wrong; and how they are carried out.

New peers are made all or none, as by any call that makes many; changes are made row by row, and each may be refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from wgfleet.panel.api.panel import Panel
from wgfleet.panel.api.peer_batches import PeerBatchCall
from wgfleet.panel.api.peers import ChangedPeer, NewPeer, specs_of
from wgfleet.panel.api.problems import field_problem
from wgfleet.panel.domain import peer_table
from wgfleet.panel.domain.fields import one_spelling
from wgfleet.panel.domain.peer_table import TableRow, Values, WrongCell
from wgfleet.panel.errors import Conflict, Invalid, PanelError
from wgfleet.panel.services import configs, rule_sets
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import SECRETS, Caller
from wgfleet.panel.services.fleet import node_groups, ownership, peer_tables, peers
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.errors import FieldError

if TYPE_CHECKING:
    from wgfleet.panel.services.fleet.peers import PeerChanges

SLICE = 25  # changes in a transaction: 0.1 s
FIXED = ("addresses", "preshared_key", "id")
"""Columns that say something of a new peer, and that no change of one has."""
SEEN_BY_OTHERS = frozenset({"name", "public_key", "networks"})
"""Columns of which two peers of a config cannot have the same: the next change is checked against this one."""
SHOWN = 100


class Existing(StrEnum):
    """What becomes of rows of peers that there are."""

    REFUSE = "refuse"
    SKIP = "skip"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class RowChange:
    """What a row changes of a peer: values by column."""

    line: int
    peer_id: str
    name: str
    changes: Values


@dataclass(slots=True)
class TablePlan:
    """What a table would do. `same`: rows that leave their peers as they are."""

    lines: list[int] = field(default_factory=list)
    new: list[NewPeer] = field(default_factory=list)
    changes: list[RowChange] = field(default_factory=list)
    same: int = 0
    wrong: list[WrongCell] = field(default_factory=list)


def plan(panel: Panel, caller: Caller, config: str, data: bytes, existing: Existing) -> TablePlan:
    """Read a table, and say what it would do."""
    rows = peer_table.read(data)
    read = [(row, *peer_table.values(row)) for row in rows]
    found = TablePlan(wrong=[wrong for _, _, some in read for wrong in some])
    sound = _without_doubles(found, [(row, values) for row, values, wrong in read if not wrong])
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        sound = _with_known(tx, caller, found, sound)
        known = peer_tables.existing(
            tx, row, [values["name"] for _, values in sound], [values["id"] for _, values in sound if values.get("id")]
        )
        _sort(tx, row, found, sound, known, existing)
    _check_new(panel, caller, config, found)
    found.wrong.sort(key=lambda each: each.line)
    return found


def _without_doubles(found: TablePlan, rows: Sequence[tuple[TableRow, Values]]) -> list[tuple[TableRow, Values]]:
    """Return the rows that have a name, and nothing that only one peer can have and an earlier row has."""
    seen: dict[tuple[str, str], int] = {}
    kept = []
    for row, values in rows:
        if not values["name"]:
            found.wrong.append(WrongCell(row.line, "name", "must be given"))
            continue
        values["name"] = one_spelling(values["name"])
        own = [(name, values[name]) for name in ("name", "public_key", "id") if values.get(name)]
        double = next((key for key in own if key in seen), None)
        if double is not None:
            found.wrong.append(WrongCell(row.line, double[0], f"is that of line {seen[double]} too"))
            continue
        seen |= dict.fromkeys(own, row.line)
        kept.append((row, values))
    return kept


def _with_known(
    tx: Tx, caller: Caller, found: TablePlan, rows: Sequence[tuple[TableRow, Values]]
) -> list[tuple[TableRow, Values]]:
    """Return the rows whose groups and owners there are, and that the caller may name."""
    if any(values.get("owner") for _, values in rows):
        caller.need(SECRETS, "giving a peer an owner")

    def group(name: str) -> None:
        limits.check_group(tx, caller.limit, {"group": name})
        node_groups.named(tx, name, "group")

    checks: dict[str, Callable[[str], object]] = {
        "group": group,
        "owner": lambda name: ownership.owner_id(tx, name),
        "rule_set": lambda name: rule_sets.get(tx, name, caller.limit),
    }
    known: dict[tuple[str, str], str | None] = {}
    kept = []
    for row, values in rows:
        for column, check in checks.items():
            if not (name := values.get(column)):
                continue
            if (column, name) not in known:
                known[column, name] = _refusal(check, name)
            if (why := known[column, name]) is not None:
                found.wrong.append(WrongCell(row.line, column, why))
                break
        else:
            kept.append((row, values))
    return kept


def _refusal(check: Callable[[str], object], name: str) -> str | None:
    try:
        check(name)
    except PanelError as error:
        return error.detail
    return None


def _sort(
    tx: Tx,
    config: Config,
    found: TablePlan,
    rows: Sequence[tuple[TableRow, Values]],
    known: Sequence[Values],
    existing: Existing,
) -> None:
    """Sort rows into new peers, changes, and what stays."""
    by_name, by_id = ({each[key]: each for each in known} for key in ("name", "id"))
    for row, values in rows:
        before = by_id.get(values["id"]) if values.get("id") else by_name.get(values["name"])
        if before is None and values.get("id"):
            found.wrong.append(
                WrongCell(row.line, "id", "no peer of this config has it; leave it empty for a new peer")
            )
        elif before is None:
            _new(found, row.line, values)
        elif existing is Existing.REFUSE:
            found.wrong.append(WrongCell(row.line, "name", f"there is a peer {before['name']!r} already"))
        elif existing is Existing.SKIP:
            found.same += 1
        else:
            other = by_name.get(values["name"])
            if other is not None and other is not before:
                found.wrong.append(WrongCell(row.line, "name", f"another peer is named {values['name']!r}"))
                continue
            _change(tx, config, found, row.line, values, before)


def _new(found: TablePlan, line: int, values: Values) -> None:
    empty = {name for name, value in values.items() if value is None or (value == "" and name != "rule_set")}
    given = {name: value for name, value in values.items() if name not in empty and name != "id"}
    try:
        body = NewPeer.model_validate(given)
    except ValidationError as error:
        found.wrong += _complaints(line, error)
        return
    found.new.append(body)
    found.lines.append(line)


def _change(tx: Tx, config: Config, found: TablePlan, line: int, values: Values, before: Values) -> None:
    changes = {name: value for name, value in values.items() if not _alike(name, value, before[name])}
    fixed = [name for name in FIXED if name in changes]
    if fixed:
        found.wrong.append(WrongCell(line, fixed[0], "cannot be changed; leave it as it is, or empty"))
        return
    if not changes:
        found.same += 1
        return
    try:
        ChangedPeer.model_validate(changes)
    except ValidationError as error:
        found.wrong += _complaints(line, error)
        return
    if (wrong := peer_tables.wrong_change(tx, config, changes)) is not None:
        found.wrong.append(WrongCell(line, wrong.field, wrong.detail))
        return
    found.changes.append(RowChange(line, before["id"], before["name"], changes))


def _alike(name: str, value: Any, before: Any) -> bool:
    """Say whether a cell leaves a peer as it is; empty, it does where there is always something."""
    if name in {"addresses", "public_key", "preshared_key", "enabled", "id"} and value in (None, []):
        return True
    if name in {"addresses", "tags", "networks"}:
        return set(value) == set(before)
    return bool(value == before)


def _complaints(line: int, error: ValidationError) -> list[WrongCell]:
    problems = [field_problem({**item, "loc": ("body", *item["loc"])}) for item in islice(error.errors(), SHOWN)]
    return [WrongCell(line, each.field.partition("[")[0], each.detail) for each in problems]


def _check_new(panel: Panel, caller: Caller, config: str, found: TablePlan) -> None:
    if not found.new:
        return
    specs, hosts = specs_of(panel, caller, found.new), panel.hosts()
    with panel.store.read() as tx:
        wrong = peer_tables.wrong_new(tx, configs.get(tx, config), specs, hosts)
    bad = {each.number for each in wrong}
    found.wrong += [
        WrongCell(0 if each.number is None else found.lines[each.number], each.field, each.detail) for each in wrong
    ]
    kept = [i for i in range(len(found.new)) if i not in bad]
    found.new, found.lines = [found.new[i] for i in kept], [found.lines[i] for i in kept]


def carry_out(panel: Panel, caller: Caller, config: str, found: TablePlan) -> TablePlan:
    """Make the new peers, all or none, then change the others; return what was done, with what was refused."""
    done = TablePlan(same=found.same, wrong=list(found.wrong))
    if found.new:
        drafts = peers.draft(panel.vault, specs_of(panel, caller, found.new))
        try:
            PeerBatchCall(panel, caller.actor, config).make(drafts)
        except (PanelError, FieldError) as error:
            raise _of_line(error, found.lines) from None
        done.new, done.lines = found.new, found.lines
    hosts = panel.hosts() if any("networks" in each.changes for each in found.changes) else {}
    for first in range(0, len(found.changes), SLICE):
        part = found.changes[first : first + SLICE]
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
    return done


def _make(panel: Panel, caller: Caller, changes: Sequence[RowChange], hosts: Mapping[str, str]) -> None:
    with panel.store.write() as tx:
        known = peer_tables.rows(tx, [each.peer_id for each in changes])  # by one statement
        for each in changes:
            peer = known.get(each.peer_id) or peers.get(tx, each.peer_id)
            values = dict(each.changes)
            if "group" in values:
                name = values.pop("group")
                limits.check_group(tx, caller.limit, {"group": name} if name else {})
                values["group_id"] = node_groups.named(tx, name, "group").id if name else None
            if "owner" in values:
                caller.need(SECRETS, "giving a peer an owner")
                name = values.pop("owner")
                ownership.give(tx, caller.actor, peer, ownership.owner_id(tx, name) if name else None)
            if values:
                peers.update(tx, panel.vault, caller.actor, peer, cast("PeerChanges", values), panel_hosts=hosts)
            if not SEEN_BY_OTHERS.isdisjoint(values):
                tx.flush()


def _of_line(error: PanelError | FieldError, lines: Sequence[int]) -> PanelError:
    """Return a refusal of new peers as one of the table, that names the line."""
    at = peer_tables.place(error.field or "")
    if at is None or at[0] >= len(lines):
        return error if isinstance(error, PanelError) else Invalid(error.detail, field="table")
    return Conflict(f"line {lines[at[0]]}, {at[1]}: {error.detail}; nothing was made", field="table")
