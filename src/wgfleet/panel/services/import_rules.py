"""Destination rules of imported peers: which sets say them, those that there are and those that are to be made."""

from collections.abc import Sequence
from typing import Any

import msgspec

from wgfleet.imports.fleet import ImportedPeer, why
from wgfleet.panel.domain import destination_rules
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import rule_sets
from wgfleet.panel.services.fleet import peer_batches
from wgfleet.panel.services.rule_sets import RuleSetChanges
from wgfleet.panel.store import Tx
from wgfleet.panel.store import rule_sets as rule_set_rows
from wgfleet.protocol.destination_words import rule_of
from wgfleet.protocol.destinations import MAX_SETS
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

_WHOLE = {"networks": (), "ports": (), "transport": "any", "place": "anywhere"}


class ImportRules:
    """Finds the set of each peer of an import: equal rules are one set. `wanted`: the sets that there are not yet."""

    def __init__(self, tx: Tx, config: str) -> None:
        found = rule_sets.page(tx, None, MAX_SETS)
        self._names = {_content(row.rules): row.name for row in found if not row.otherwise_allowed}
        self._taken = {row.name for row in found}
        self._config = config
        self.wanted: list[RuleSetChanges] = []

    def of(self, peer: ImportedPeer, said: list[str], missing: list[str]) -> str | None:
        """Return the name of a peer's set, None without rules. Raise `Conflict` where there would be too many sets."""
        if peer.destinations is None:
            return None
        rules = _parsed(peer.destinations, missing)
        key = _content(rules)
        if key not in self._names:
            self._names[key] = self._new(rules)
        said.append(
            Reason(
                "it may connect to what rule set {rules!r} says: {destinations}",
                rules=self._names[key],
                destinations=", ".join(peer.destinations),
            )
        )
        return self._names[key]

    def _new(self, rules: list[dict[str, Any]]) -> str:
        if len(self._taken) >= MAX_SETS:
            raise Conflict(
                Reason(
                    "its peers have more than {most} different sets of destination rules, with those that there are; "
                    "have some of them say the same, or delete rule sets that nobody has",
                    most=MAX_SETS,
                ),
                field="peers",
            )
        number = 1
        while (name := f"{self._config}-import-{number}") in self._taken:
            number += 1
        self._taken.add(name)
        self.wanted.append({"name": name, "rules": rules, "otherwise_allowed": False})
        return name


def _parsed(lines: Sequence[str], missing: list[str]) -> list[dict[str, Any]]:
    """Return the rules that lines say. One that says none allows nothing, which is said."""
    found: dict[bytes, dict[str, Any]] = {}
    for line in lines:
        try:
            (rule,) = destination_rules.parse([_WHOLE | rule_of(line)])
        except (FieldError, ValueError) as error:
            missing.append(
                Reason(
                    "its rule ({line}) has no like here, so that it does not reach what it allowed: {error}",
                    line=line,
                    error=why(error),
                )
            )
            continue
        plain = msgspec.to_builtins(rule)
        found[_content([plain])] = _WHOLE | plain
    return list(found.values())


def _content(rules: Sequence[Any]) -> bytes:
    return msgspec.json.encode([_WHOLE | dict(rule) for rule in rules], order="sorted")


def make(tx: Tx, actor: str, wanted: Sequence[RuleSetChanges], batch_id: str | None = None) -> None:
    """Make sets, as part of a batch or not. Raise `Conflict` where somebody made another one of a name meanwhile."""
    made = []
    for values in wanted:
        row = rule_set_rows.find(tx, values["name"])
        if row is None:
            made.append(rule_sets.create(tx, actor, values).id)
        elif row.otherwise_allowed or _content(row.rules) != _content(values["rules"]):
            raise Conflict(Reason("rule set {rules!r} was made meanwhile, and says something else", rules=row.name))
    if batch_id is not None and made:
        peer_batches.add_made(tx, batch_id, made)
