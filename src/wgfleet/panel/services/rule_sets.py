"""Sets of destination rules: made, changed, deleted, and as nodes get them."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypedDict

import msgspec

from wgfleet.panel import clock
from wgfleet.panel.domain import destination_rules, look_alikes, peer_table
from wgfleet.panel.domain.fields import one_spelling, parse_word
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, generations
from wgfleet.panel.store import Tx
from wgfleet.panel.store import rule_sets as rule_set_rows
from wgfleet.panel.store.rule_sets import RuleSetUse
from wgfleet.panel.store.tables import RuleSetRow
from wgfleet.protocol.destination_words import rule_text
from wgfleet.protocol.destinations import MAX_NAME, MAX_SETS, DestinationRule, RuleSet
from wgfleet.protocol.reasons import Reason

_NAMED = 5
TABLES_NONE = peer_table.NONE


class RuleSetChanges(TypedDict, total=False):
    """What may change in a set; what is left out stays."""

    name: str
    rules: Sequence[Mapping[str, Any]]
    otherwise_allowed: bool


def create(tx: Tx, actor: str, values: RuleSetChanges) -> RuleSetRow:
    """Make a set, which nobody has yet. `values` has a name; the rest may be left out."""
    wanted = {"rules": [], "otherwise_allowed": True, **_checked(values)}
    _check_name_is_free(tx, wanted["name"])
    if rule_set_rows.count(tx) >= MAX_SETS:
        raise Conflict(
            Reason("there are {max_sets} rule sets, and may be no more; delete one that nobody has", max_sets=MAX_SETS)
        )
    row = RuleSetRow(id=clock.new_id(), created_at=clock.now(), **wanted)
    rule_set_rows.add(tx, row)
    audit.record(tx, actor, "created", "rule_set", row.id, **_told(wanted))
    return row


def get(tx: Tx, reference: str, within: Limit | None = None) -> RuleSetRow:
    """Return a set by id or name. `within`: who has this limit sees only those that its configs use."""
    row = rule_set_rows.find(tx, one_spelling(reference))
    if row is None or (within is not None and row.id not in rule_set_rows.used_in(tx, within.configs)):
        raise NotFound(Reason("there is no rule set {reference!r}", reference=reference), Hint(HintCode.LIST_RULE_SETS))
    return row


def id_for(tx: Tx, reference: str | None, field: str, known: dict[str, str]) -> str | None:
    """Return the id of the set that a field of a body names, and keep it from going; "" and None stand for themselves.

    `known`: ids that were found so far.
    """
    if not reference:
        return reference
    if reference in known:
        return known[reference]
    row = rule_set_rows.find(tx, one_spelling(reference))
    if row is None or not rule_set_rows.hold(tx, row.id, alone=False):
        raise Invalid(
            Reason("there is no rule set {reference!r}", reference=reference),
            Hint(HintCode.LIST_RULE_SETS),
            field=field,
        )
    known[reference] = row.id
    return row.id


def check_named(tx: Tx, within: Limit | None, changes: Mapping[str, Any]) -> None:
    """Refuse a set that somebody with a limit does not see, in the words for one that does not exist."""
    if within is not None and (reference := changes.get("rule_set")):
        try:
            get(tx, reference, within)
        except NotFound as refused:
            raise Invalid(str(refused), *refused.hints, field="rule_set") from None


def page(tx: Tx, after: str | None = None, limit: int = 100, within: Limit | None = None) -> Sequence[RuleSetRow]:
    """Return sets in the order of creation, starting after the id `after`."""
    return rule_set_rows.page(tx, after, limit, within)


def names(tx: Tx, set_ids: Collection[str | None]) -> dict[str, str]:
    """Return the names of sets by id, with "" for none."""
    wanted = {each for each in set_ids if each}
    return {"": "", **rule_set_rows.names(tx, wanted)}


def uses(tx: Tx, rows: Collection[RuleSetRow], within: Limit | None = None) -> Mapping[str, RuleSetUse]:
    """Return who has each set, by its id; `within`: as far as that is seen with a limit."""
    return rule_set_rows.uses(tx, [row.id for row in rows], within)


def configs_using(tx: Tx, row: RuleSetRow) -> list[str]:
    """Return the ids of the configs that use a set: by themselves, their peers, or tags of these."""
    return rule_set_rows.configs_using(tx, [row.id])[row.id]


def configs_using_each(tx: Tx, rows: Collection[RuleSetRow], within: Limit | None = None) -> dict[str, list[str]]:
    """Return the ids of the configs that use each set, by its id; `within`: as far as they are seen with a limit."""
    found = rule_set_rows.configs_using(tx, [row.id for row in rows])
    if within is None:
        return found
    return {set_id: [each for each in configs if each in within.configs] for set_id, configs in found.items()}


def update(tx: Tx, actor: str, row: RuleSetRow, changes: RuleSetChanges) -> RuleSetRow:
    """Change a set. Nodes of the configs that use it have it at once, and it counts for open connections too."""
    values = _checked(changes)
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not changed:
        return row
    if "name" in changed:
        _check_name_is_free(tx, changed["name"], row.id)
    if changed.keys() - {"name"}:  # nodes call a set by its id
        for config_id in rule_set_rows.configs_using(tx, row.id):
            generations.hold(tx, config_id)  # before the set, as all do
        rule_set_rows.hold(tx, row.id, alone=True)
        for config_id in configs_using(tx, row):
            generations.bump(tx, config_id, settings=True)
    for name, value in changed.items():
        setattr(row, name, value)
    audit.record(tx, actor, "updated", "rule_set", row.id, **_told({"name": row.name, **changed}))
    return row


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as people read them in the audit log: rules as lines."""
    return {**values, **({"rules": [rule_text(each) for each in values["rules"]]} if "rules" in values else {})}


def check_deletion(tx: Tx, row: RuleSetRow) -> None:
    """Raise `Conflict` while anybody has a set: without it, they would be held to something else, or to nothing."""
    use = uses(tx, [row])[row.id]
    peers = f"{use.peers} peer{'s' * (use.peers != 1)}" if use.peers else ""
    said = [*_listed("config", use.configs), *_listed("tag", use.tags), *([peers] if peers else [])]
    if said:
        raise Conflict(
            Reason(
                "rule set {row!r} is that of {said}; give them another one, or none, first",
                row=row.name,
                said=", ".join(said),
            )
        )


def delete_unused(tx: Tx, actor: str, set_ids: Collection[str]) -> None:
    """Delete those of some sets that nobody has."""
    for row in rule_set_rows.by_ids(tx, set_ids):
        if rule_set_rows.hold(tx, row.id, alone=True):
            with suppress(Conflict):
                check_deletion(tx, row)
                delete(tx, actor, row)


def delete(tx: Tx, actor: str, row: RuleSetRow) -> None:
    """Delete a set that nobody has."""
    rule_set_rows.hold(tx, row.id, alone=True)
    check_deletion(tx, row)
    rule_set_rows.delete(tx, row)
    audit.record(tx, actor, "deleted", "rule_set", row.id, name=row.name)


def rendered(tx: Tx, config_id: str) -> tuple[RuleSet, ...]:
    """Return the sets that a config's nodes are to know, each under its id."""
    return tuple(of_row(row) for row in rule_set_rows.of_config(tx, config_id)) if rule_set_rows.count(tx) else ()


def by_ids(tx: Tx, set_ids: Collection[str | None]) -> dict[str, RuleSet]:
    """Return sets as nodes have them, by their ids."""
    return {row.id: of_row(row) for row in rule_set_rows.by_ids(tx, {each for each in set_ids if each})}


def of_row(row: RuleSetRow) -> RuleSet:
    """Return a set as nodes have it."""
    return RuleSet(row.id, msgspec.convert(row.rules, tuple[DestinationRule, ...]), row.otherwise_allowed)


def _listed(kind: str, found: Sequence[str]) -> list[str]:
    if not found:
        return []
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return [f"{kind} {', '.join(map(repr, found[:_NAMED]))}{more}"]


def _checked(changes: RuleSetChanges) -> dict[str, Any]:
    values: dict[str, Any] = {**changes}
    if "name" in changes:
        values["name"] = parse_word(changes["name"], MAX_NAME)
        if values["name"] == TABLES_NONE:
            raise Invalid(
                Reason(
                    "{tables_none!r} is what tables of peers call no rules; choose another name",
                    tables_none=TABLES_NONE,
                ),
                field="name",
            )
        if "/" in values["name"]:
            raise Invalid(Reason("must have no /"), field="name")
    if "rules" in changes:
        values["rules"] = [msgspec.to_builtins(rule) for rule in destination_rules.parse(changes["rules"])]
    return values


def _check_name_is_free(tx: Tx, name: str, of: str | None = None) -> None:
    look_alikes.check(name, [other for set_id, other in rule_set_rows.all_names(tx).items() if set_id != of])
    if rule_set_rows.find(tx, name) is not None:
        raise Conflict(Reason("a rule set named {name!r} already exists; choose another name", name=name), field="name")
