"""Vantage points: who looks at whom, and whose word counts.

Pure. Plans looks; must not judge nodes.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice

from wgfleet.panel.domain.health.paths import misses_of_note
from wgfleet.panel.domain.health.votes import (
    PANEL,
    Health,
    HealthRules,
    Observed,
    Standing,
    Verdict,
    Witness,
    domains,
    is_fresh,
)
from wgfleet.protocol.ids import NodeId

CrossCheck = tuple[NodeId, NodeId]
"""A look to be taken: from the first node at the second."""

MAX_VANTAGE_NODES = 3  # with the panel four: enough for a majority, and constant work for any number of nodes
_PAIR = 2
_URGENT_ROUNDS = 2  # times `failures`: then all asked have given their verdict


def cross_checks(
    observed: Mapping[NodeId, Observed],
    standings: Mapping[NodeId, Standing],
    rules: HealthRules,
    now: float,
    witnesses: Collection[Witness] = (),
) -> Iterator[CrossCheck]:
    """Name the looks that are due: each node is looked at every `cross_check_s`, a doubtful one every `interval_s`.

    Witnesses look where there are too few nodes to, or none in another failure domain. In doubt all are asked again
    whose word still counts: who looks at whom changes with the agents that are connected, and what the others saw
    before would outvote those that look now. Knows nothing of looks that are under way: the caller leaves those out.
    """
    lookout = Lookout(observed, standings, witnesses)
    for target, target_seen in observed.items():
        seen = {verdict.vantage: verdict for verdict in target_seen.verdicts}
        doubtful = _doubtful(seen.values(), rules, now)
        earlier = lookout.of_earlier(target_seen, rules, now) if doubtful else ()
        for vantage in dict.fromkeys(chain(lookout.vantages(target), earlier)):
            if _is_due(seen.get(vantage), rules, now, doubtful=doubtful):
                yield vantage, target


class Lookout:
    """Who would be asked about each node now."""

    def __init__(
        self,
        observed: Mapping[NodeId, Observed],
        standings: Mapping[NodeId, Standing],
        witnesses: Collection[Witness] = (),
    ) -> None:
        self._domain_of = electorate(observed, standings, witnesses)
        able = sorted(
            node_id for node_id in observed if node_id in self._domain_of and observed[node_id].agent_connected
        )
        # Those that nobody misses are asked first: one that is in doubt may itself be what is cut off.
        serving = [node_id for node_id in able if standings[node_id].state is Health.SERVING]
        doubted = [node_id for node_id in able if standings[node_id].state is not Health.SERVING]
        others = sorted(witness.node_id for witness in witnesses if witness.agent_connected)
        self._rings = (serving, doubted, others)

    @cached_property
    def _able(self) -> frozenset[NodeId]:
        return frozenset(chain(*self._rings))  # asked for in doubt alone

    def vantages(self, target: NodeId) -> Iterator[NodeId]:
        """Yield who would be asked about a node, in order."""
        ring = chain(*(_next_on_ring(able, target) for able in self._rings))
        return islice(_apart(ring, self._domain_of, target), MAX_VANTAGE_NODES)

    def of_earlier(self, seen: Observed, rules: HealthRules, now: float) -> Iterator[NodeId]:
        """Yield who can be asked about a node again, as what it saw before still counts."""
        for verdict in seen.verdicts:
            vantage = NodeId(verdict.vantage)
            if vantage in self._able and vantage != seen.node_id and is_fresh(verdict, rules, now):
                yield vantage


def electorate(
    observed: Mapping[NodeId, Observed],
    standings: Mapping[NodeId, Standing],
    witnesses: Collection[Witness] = (),
) -> dict[str, str]:
    """Return the vantage points whose word counts on others, each with its failure domain.

    Not the nodes on the panel's machine, which see what the panel sees. Not those out of use, which may be the ones
    that are cut off; except with two nodes, where there is nobody else to hear.
    """
    return {
        vantage: domain
        for vantage, domain in domains(observed.values(), witnesses).items()
        if vantage not in observed
        or (
            not observed[NodeId(vantage)].beside_panel
            and (standings[NodeId(vantage)].state.in_use or len(observed) == _PAIR)
        )
    }


def _apart(ring: Iterable[NodeId], domain_of: Mapping[str, str], target: NodeId) -> Iterator[NodeId]:
    """Yield the nodes of the ring, first one of each failure domain that is neither the panel's nor the target's."""
    others: list[NodeId] = []
    taken = {domain_of[PANEL], domain_of.get(target, target)}
    for vantage in ring:
        if domain_of[vantage] in taken:
            others.append(vantage)
        else:
            taken.add(domain_of[vantage])
            yield vantage
    yield from others


def _doubtful(verdicts: Iterable[Verdict], rules: HealthRules, now: float) -> bool:
    """Tell whether a vantage point has begun to miss the node. One that has missed it for long has no news.

    Long is for the one that needs most misses: the others go on while it has not had its tries.
    """
    fresh = [verdict for verdict in verdicts if is_fresh(verdict, rules, now)]
    if not any(verdict.doubts for verdict in fresh):
        return False  # as nearly always
    long = _URGENT_ROUNDS * max((verdict.needed(rules) for verdict in fresh), default=0)
    return any(misses_of_note(verdict.loss) <= verdict.doubts <= long for verdict in fresh)


def _is_due(verdict: Verdict | None, rules: HealthRules, now: float, *, doubtful: bool) -> bool:
    if verdict is None or verdict.last_try_at is None:
        return True
    if not doubtful:
        return now - verdict.last_try_at >= rules.cross_check_s
    # One that has begun to miss it has waited for an answer already.
    return 0 < verdict.failures < verdict.needed(rules) or now - verdict.last_try_at >= rules.interval_s


def _next_on_ring(nodes: Sequence[NodeId], target: NodeId) -> Iterator[NodeId]:
    """Yield the nodes that come after the target in the order of their ids: so the work is spread evenly."""
    start = bisect_right(nodes, target)
    return (
        nodes[place % len(nodes)] for place in range(start, start + len(nodes)) if nodes[place % len(nodes)] != target
    )
