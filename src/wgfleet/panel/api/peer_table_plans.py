"""Plans of tables of peers: which rows are new peers, which change some, and what is wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

from pydantic import ValidationError

from wgfleet.panel.api.operations import OperationView
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.api.peers import ChangedPeer, NewPeer, specs_of
from wgfleet.panel.api.problems import field_problem
from wgfleet.panel.domain import peer_table
from wgfleet.panel.domain.fields import one_spelling
from wgfleet.panel.domain.peer_table import TableRow, Values, WrongCell
from wgfleet.panel.errors import PanelError
from wgfleet.panel.services import configs, peer_change_effects, rule_sets
from wgfleet.panel.services.access import limits, owners
from wgfleet.panel.services.access.callers import SECRETS, Caller
from wgfleet.panel.services.fleet import node_groups, peer_tables, tags
from wgfleet.panel.services.fleet.node_reach import NodeReach
from wgfleet.panel.services.fleet.peer_nodes import FIELD
from wgfleet.panel.services.fleet.peer_tables import DetailChecks
from wgfleet.panel.store import Tx
from wgfleet.protocol.quotes import quoted

FIXED = ("addresses", "preshared_key", "id")
"""Columns that say something of a new peer, and that no change of one has."""
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
    """What a table would do. `same`: rows that leave their peers as they are. `operation`: it makes the changes.

    `of_limits`: whom limits delete, cut off or let in by it, where that was looked at.
    """

    lines: list[int] = field(default_factory=list)
    new: list[NewPeer] = field(default_factory=list)
    changes: list[RowChange] = field(default_factory=list)
    same: int = 0
    wrong: list[WrongCell] = field(default_factory=list)
    operation: OperationView | None = None
    of_limits: list[str] = field(default_factory=list)


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
        checks = Checks(DetailChecks(tx, row), NodeReach(tx, caller.limit, [each["id"] for each in known]))
        _sort(checks, found, sound, known, existing)
    _check_new(panel, caller, config, found)
    found.wrong.sort(key=lambda each: each.line)
    return found


def looked_at(panel: Panel, caller: Caller, config: str, data: bytes, existing: Existing) -> TablePlan:
    """Read a table, and say what it would do, and what limits would then do at once."""
    found = plan(panel, caller, config, data, existing)
    new = {each.name: each.tags for each in found.new}
    changed = {each.peer_id: each.changes["tags"] or () for each in found.changes if "tags" in each.changes}
    with panel.store.read() as tx:
        found.of_limits = peer_change_effects.of_tags(tx, configs.get(tx, config).id, new, changed)
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
        limits.check_named_group(tx, caller.limit, name)
        node_groups.named(tx, name, "group")

    checks: dict[str, Callable[[str], object]] = {
        "group": group,
        "owner": lambda name: owners.named(tx, caller, name),
        "rule_set": lambda name: rule_sets.get(tx, name, caller.limit),
    }
    if caller.limit is not None:
        checks["tags"] = lambda name: tags.get(tx, name, caller.limit)
    known: dict[tuple[str, str], str | None] = {}
    kept = []
    for row, values in rows:
        for column, check in checks.items():
            cell = values.get(column) or ()
            names = (cell,) if isinstance(cell, str) else cell
            for name in names:
                if (column, name) not in known:
                    known[column, name] = _refusal(check, name)
            why = next(filter(None, (known[column, name] for name in names)), None)
            if why is not None:
                found.wrong.append(WrongCell(row.line, column, why))
                break
        else:
            kept.append((row, values))
    return kept


class Checks(NamedTuple):
    """What rows are checked by."""

    details: DetailChecks
    nodes: NodeReach


def _refusal(check: Callable[[str], object], name: str) -> str | None:
    try:
        check(name)
    except PanelError as error:
        return error.detail
    return None


def _sort(
    checks: Checks,
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
            _new(checks, found, row.line, values)
        elif existing is Existing.REFUSE:
            found.wrong.append(WrongCell(row.line, "name", f"there is a peer {quoted(before['name'])} already"))
        elif existing is Existing.SKIP:
            found.same += 1
        else:
            other = by_name.get(values["name"])
            if other is not None and other is not before:
                found.wrong.append(WrongCell(row.line, "name", f"another peer is named {quoted(values['name'])}"))
                continue
            _change(checks, found, row.line, values, before)


def _new(checks: Checks, found: TablePlan, line: int, values: Values) -> None:
    try:
        checks.nodes.check_new(values)
    except PanelError as error:
        found.wrong.append(WrongCell(line, FIELD, error.detail))
        return
    empty = {name for name, value in values.items() if value is None or (value == "" and name != "rule_set")}
    given = {name: value for name, value in values.items() if name not in empty and name != "id"}
    try:
        body = NewPeer.model_validate(given)
    except ValidationError as error:
        found.wrong += _complaints(line, error)
        return
    found.new.append(body)
    found.lines.append(line)


def _change(checks: Checks, found: TablePlan, line: int, values: Values, before: Values) -> None:
    changes = {name: value for name, value in values.items() if not _alike(name, value, before[name])}
    fixed = [name for name in FIXED if name in changes]
    if fixed:
        found.wrong.append(WrongCell(line, fixed[0], "cannot be changed; leave it as it is, or empty"))
        return
    try:
        changes = checks.nodes.changed(before["id"], changes)
    except PanelError as error:
        found.wrong.append(WrongCell(line, FIELD, error.detail))
        return
    if not changes:
        found.same += 1
        return
    try:
        ChangedPeer.model_validate(changes)
    except ValidationError as error:
        found.wrong += _complaints(line, error)
        return
    enabled = bool(changes.get("enabled", before["enabled"]))
    wrong = checks.details.wrong_change(changes, enabled=enabled, kept=checks.nodes.had(before["id"]))
    if wrong is not None:
        found.wrong.append(WrongCell(line, wrong.field, wrong.detail))
        return
    found.changes.append(RowChange(line, before["id"], before["name"], changes))


def _alike(name: str, value: Any, before: Any) -> bool:
    """Say whether a cell leaves a peer as it is; empty, it does where there is always something."""
    if name in {"addresses", "public_key", "preshared_key", "enabled", "id"} and value in (None, []):
        return True
    if name in {"addresses", "tags", "networks", "nodes"}:
        return set(value or ()) == set(before or ())
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
