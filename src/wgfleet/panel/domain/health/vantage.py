"""Vantage points: who looks at whom, and whether the panel is the one that cannot see.

Pure. Plans looks; must not judge nodes.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from wgfleet.panel.domain.health.votes import PANEL, Health, HealthRules, Observed, Standing, Verdict, is_fresh
from wgfleet.protocol.ids import NodeId

CrossCheck = tuple[NodeId, NodeId]
"""A look to be taken: from the first node at the second."""

MAX_VANTAGE_NODES = 3  # with the panel four: enough for a majority, and constant work for any number of nodes
_PAIR = 2
_URGENT_ROUNDS = 2  # times `failures`: then all asked have given their verdict


def cross_checks(
    observed: Mapping[NodeId, Observed], standings: Mapping[NodeId, Standing], rules: HealthRules, now: float
) -> Iterator[CrossCheck]:
    """Name the looks that are due: each node is looked at every `cross_check_s`, a doubtful one every `interval_s`.

    Knows nothing of looks that are under way: the caller leaves those out.
    """
    able = sorted(node_id for node_id in electorate(observed, standings) if observed[node_id].agent_connected)
    # Those that nobody misses are asked first: one that is in doubt may itself be what is cut off.
    serving = [node_id for node_id in able if standings[node_id].state is Health.SERVING]
    doubted = [node_id for node_id in able if standings[node_id].state is not Health.SERVING]
    for target, target_seen in observed.items():
        seen = {verdict.vantage: verdict for verdict in target_seen.verdicts}
        doubtful = _doubtful(seen.values(), rules, now)
        for vantage in islice(chain(_next_on_ring(serving, target), _next_on_ring(doubted, target)), MAX_VANTAGE_NODES):
            if _is_due(seen.get(vantage), rules, now, doubtful=doubtful):
                yield vantage, target


def electorate(observed: Mapping[NodeId, Observed], standings: Mapping[NodeId, Standing]) -> frozenset[NodeId]:
    """Return the nodes whose word counts on others.

    Not those on the panel's machine, which see what the panel sees. Not those out of use, which may be the ones that
    are cut off; except with two nodes, where there is nobody else to hear.
    """
    return frozenset(
        node_id
        for node_id, seen in observed.items()
        if not seen.beside_panel and (standings[node_id].state.in_use or len(observed) == _PAIR)
    )


def cut_off(observed_all: Iterable[Observed], now: float, rules: HealthRules) -> str | None:
    """Say why the panel takes itself to be cut off, or None.

    `observed_all` has every assignment that the panel probes; a node with several is lost when none of them answers.
    It is cut off when more than half of the nodes that it could see fell silent at about the same time, and no node
    away from its machine misses any of them. Those that were silent long before count neither way. True only after
    `cross_check_s`, in which others had their chance to confirm; nothing goes down on the panel's word before.
    """
    all_seen = tuple(observed_all)
    beside = {str(seen.node_id) for seen in all_seen if seen.beside_panel}
    answering = {seen.node_id for seen in all_seen if any(_by_panel(seen, rules, now, missed=False))}
    last_answers: dict[NodeId, float] = {}
    for seen in all_seen:
        for verdict in _by_panel(seen, rules, now, missed=True):
            if seen.node_id not in answering and verdict.last_ok_at is not None:
                last_answers[seen.node_id] = max(verdict.last_ok_at, last_answers.get(seen.node_id, verdict.last_ok_at))
    lost = _largest_group(last_answers, rules.cross_check_s)
    visible = len(lost) + len(answering)
    if (
        len(lost) < _PAIR
        or len(lost) * 2 <= visible
        or now - max(last_answers[node_id] for node_id in lost) < rules.cross_check_s
        or any(_missed_by_node(seen, beside, rules, now) for seen in all_seen if seen.node_id in lost)
    ):
        return None
    return f"{len(lost)} of {visible} nodes fell silent together and no node confirms that they are down"


def _by_panel(seen: Observed, rules: HealthRules, now: float, *, missed: bool) -> Iterator[Verdict]:
    for verdict in seen.verdicts:
        if (
            verdict.vantage == PANEL
            and is_fresh(verdict, rules, now)
            and missed is (verdict.failures >= rules.failures)
        ):
            yield verdict


def _missed_by_node(seen: Observed, beside: set[str], rules: HealthRules, now: float) -> bool:
    return any(
        verdict.vantage != PANEL
        and verdict.vantage not in beside
        and is_fresh(verdict, rules, now)
        and verdict.failures >= rules.failures
        for verdict in seen.verdicts
    )


def _doubtful(verdicts: Iterable[Verdict], rules: HealthRules, now: float) -> bool:
    """Tell whether a vantage point has begun to miss the node. One that has missed it for long has no news."""
    return any(
        is_fresh(verdict, rules, now) and 0 < verdict.failures <= _URGENT_ROUNDS * rules.failures
        for verdict in verdicts
    )


def _is_due(verdict: Verdict | None, rules: HealthRules, now: float, *, doubtful: bool) -> bool:
    if verdict is None or verdict.last_try_at is None:
        return True
    if not doubtful:
        return now - verdict.last_try_at >= rules.cross_check_s
    # One that has begun to miss it has waited for an answer already.
    return 0 < verdict.failures < rules.failures or now - verdict.last_try_at >= rules.interval_s


def _next_on_ring(nodes: Sequence[NodeId], target: NodeId) -> Iterator[NodeId]:
    """Yield the nodes that come after the target in the order of their ids: so the work is spread evenly."""
    start = bisect_right(nodes, target)
    return (
        nodes[place % len(nodes)] for place in range(start, start + len(nodes)) if nodes[place % len(nodes)] != target
    )


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
