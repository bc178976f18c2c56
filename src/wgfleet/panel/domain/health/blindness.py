"""Blindness of witnesses: one that reaches none of the nodes that others reach says nothing about any of them.

Pure. As where UDP cannot leave its machine: its word would stand against every node for ever. Must not count votes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from wgfleet.panel.domain.health.votes import HealthRules, Observed, Verdict, is_fresh
from wgfleet.protocol.ids import NodeId


@dataclass(frozen=True, slots=True)
class WitnessSight:
    """Of the nodes that others reach: those that a witness reaches, and those that it misses."""

    reached: frozenset[NodeId] = frozenset()
    missed: frozenset[NodeId] = frozenset()

    def is_blind(self, target: NodeId | None = None) -> bool:
        """Tell whether it reaches none of them. Of `target` it is what it says of others that counts.

        Else a node that it rightly misses, and that somebody has answers of, would speak against it.
        """
        return not self.reached and bool(self.missed - {target})


def reach_of(
    observed: Mapping[NodeId, Observed], rules: HealthRules, now: float, witnesses: Collection[str]
) -> dict[str, WitnessSight]:
    """Return what witnesses reach of what the panel or a node reaches; nothing of those that have not looked."""
    found: dict[str, tuple[set[NodeId], set[NodeId]]] = {}
    for node_id, seen in observed.items():
        fresh = [verdict for verdict in seen.verdicts if is_fresh(verdict, rules, now) and verdict.vantage != node_id]
        if not any(_answered(verdict, rules) for verdict in fresh if verdict.vantage not in witnesses):
            continue
        for verdict in fresh:
            if verdict.vantage in witnesses:
                reached, missed = found.setdefault(verdict.vantage, (set(), set()))
                if verdict.missing(rules):
                    missed.add(node_id)
                elif verdict.last_ok_at is not None:
                    reached.add(node_id)
    return {
        witness: WitnessSight(frozenset(reached), frozenset(missed)) for witness, (reached, missed) in found.items()
    }


def _answered(verdict: Verdict, rules: HealthRules) -> bool:
    return verdict.last_ok_at is not None and not verdict.missing(rules)
