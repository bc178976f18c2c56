"""The quorum of all nodes in use: whether more of them fell silent at once than the panel may act on.

Pure. More than half at once may be a cut of the panel's own network, or a mistake of somebody; either is made worse by
taking them all out of use. Must not judge a single node.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from wgfleet.panel.domain.health.paths import misses_of_note
from wgfleet.panel.domain.health.votes import PANEL, HealthRules, Observed, Standing, Verdict, is_fresh
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.reasons import Reason

_SEVERAL = 2


@dataclass(frozen=True, slots=True)
class SilentNodes:
    """No node is taken out of use. `nodes` are those that do not answer, `reason` is for people."""

    reason: str
    nodes: tuple[NodeId, ...]


class Quorum:
    """The quorum over time. A freeze outlives its cause by `fresh_s`: by then every vantage point has looked again."""

    def __init__(self, rules: HealthRules) -> None:
        self.frozen: SilentNodes | None = None
        self.unsure = False
        """Whether there may be a freeze in a moment, for others that may be dead as well: nobody is taken out yet."""
        self._rules = rules
        self._until = 0.0
        self._taken_out: dict[NodeId, float] = {}

    def look(
        self, watched: Collection[tuple[Observed, Standing]], now: float, witnesses: Collection[str] = ()
    ) -> SilentNodes | None:
        """Return why no node is taken out of use now, or None. `watched` has every assignment, `now` only grows.

        What `witnesses` say counts for nothing here.
        """
        if witnesses:
            watched = [(_without(seen, witnesses), standing) for seen, standing in watched]
        in_use = {seen.node_id for seen, standing in watched if standing.state.in_use}
        known = {seen.node_id for seen, _ in watched}
        self._taken_out = {
            node_id: at for node_id, at in self._taken_out.items() if node_id in known and node_id not in in_use
        }
        found = freeze(watched, self._taken_out, self._rules, now)
        self.unsure = (
            found is None
            and any(verdict.failures for seen, _ in watched for verdict in seen.verdicts)
            and freeze(watched, self._taken_out, self._rules, now, unproven=True) is not None
        )
        if found is not None:
            self.frozen, self._until = found, now + self._rules.fresh_s
        elif now >= self._until:
            self.frozen = None
        return self.frozen

    def taken_out(self, node_id: NodeId, now: float) -> None:
        """Note that a node is not used any more."""
        self._taken_out.setdefault(node_id, now)


def _without(seen: Observed, witnesses: Collection[str]) -> Observed:
    return replace(seen, verdicts=tuple(each for each in seen.verdicts if each.vantage not in witnesses))


def freeze(
    watched: Iterable[tuple[Observed, Standing]],
    taken_out: Mapping[NodeId, float],
    rules: HealthRules,
    now: float,
    *,
    unproven: bool = False,
) -> SilentNodes | None:
    """Say which nodes fell silent together if they are more than half of all that are in use, or None.

    `watched` has every assignment; a node with several is lost when none of them answers. `taken_out`: when nodes that
    are out of use were taken out; of those, who fell at the same time as the others counts with them, so that a site
    whose nodes are noticed one after the other is not taken out by halves. "At once" is within `at_once_s`. Nodes that
    were silent long before, and are kept in use for want of others, count neither way. `unproven`: those that the panel
    begins to miss, or has not proven to be alive since, count as silent too.
    """
    silent_since: dict[NodeId, float] = {}
    heard: set[NodeId] = set()
    confirmed: set[NodeId] = set()
    in_use = [seen for seen, standing in watched if standing.state.in_use]
    lost = {id(seen) for seen in in_use if _lost(seen, rules, now)}
    if unproven and lost:
        since = max(_silent_since(seen) for seen in in_use if id(seen) in lost)
        lost |= {id(seen) for seen in in_use if not _proven(seen, rules, since, now)}
    for seen in in_use:
        if id(seen) not in lost:
            heard.add(seen.node_id)
            continue
        since = _silent_since(seen)
        silent_since[seen.node_id] = max(since, silent_since.get(seen.node_id, since))
        if any(_confirms(verdict, rules, now) for verdict in seen.verdicts):
            confirmed.add(seen.node_id)
    silent = {node_id: since for node_id, since in silent_since.items() if node_id not in heard}
    fallen = silent | {node_id: at for node_id, at in taken_out.items() if node_id not in heard | silent.keys()}
    group = _largest_group(fallen, rules.at_once_s)
    held = sorted(group & silent.keys())
    everybody = len(group) + len(heard)
    if not held or len(group) < _SEVERAL or len(group) * 2 <= everybody:
        return None
    counts = {"silent": len(group), "all": everybody}
    told = Reason("{silent} of {all} nodes fell silent at once, which is more than half", **counts)
    if not confirmed & set(held):
        alone = Reason("no other node misses them, so that the panel itself seems to be cut off")
        told = Reason("{what}; {why}", what=told, why=alone)
    return SilentNodes(told, tuple(held))


def _lost(seen: Observed, rules: HealthRules, now: float) -> bool:
    """Tell whether the panel, or most who look, miss it; also where nobody has looked yet, nothing is lost."""
    fresh = [verdict for verdict in seen.verdicts if is_fresh(verdict, rules, now) and verdict.vantage != seen.node_id]
    missing = [verdict for verdict in fresh if verdict.missing(rules)]
    return any(verdict.vantage == PANEL for verdict in missing) or len(missing) * 2 > len(fresh)


def _proven(seen: Observed, rules: HealthRules, since: float, now: float) -> bool:
    """Tell whether the panel, if it looks at it, knows that it was alive after `since`, and does not doubt it."""
    return not any(
        (verdict.doubts >= misses_of_note(verdict.loss) or (verdict.alive_at is not None and verdict.alive_at <= since))
        for verdict in seen.verdicts
        if verdict.vantage == PANEL and is_fresh(verdict, rules, now)
    )


def _confirms(verdict: Verdict, rules: HealthRules, now: float) -> bool:
    return verdict.vantage != PANEL and is_fresh(verdict, rules, now) and verdict.missing(rules)


def _silent_since(seen: Observed) -> float:
    """Return when the last vantage point heard it; of one that never was, when it was first looked at."""
    heard = [verdict.last_ok_at for verdict in seen.verdicts if verdict.last_ok_at is not None]
    begun = [verdict.since for verdict in seen.verdicts if verdict.since is not None]
    return max(heard) if heard else min(begun, default=0.0)


def _largest_group(times: Mapping[NodeId, float], spread_s: float) -> set[NodeId]:
    """Return the most nodes whose times lie within `spread_s` of each other; the latest of such groups."""
    ordered = sorted(times, key=lambda node_id: times[node_id])
    best: list[NodeId] = []
    first = 0
    for last, node_id in enumerate(ordered):
        while times[node_id] - times[ordered[first]] > spread_s:
            first += 1
        if last + 1 - first >= len(best):
            best = ordered[first : last + 1]
    return set(best)
