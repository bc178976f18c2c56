"""What no decision on health may do, whatever is seen, cut, killed or mended."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.panel.health.network import QUICK, SETTLED_S, TICK, Network, S, names, settled
from wgfleet.panel.domain.health import judge
from wgfleet.panel.domain.health.judge import PANEL, Health, Observed, Standing, Verdict, decide
from wgfleet.protocol.ids import NodeId


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 5), st.data())
def test_one_flaky_vantage_point_changes_nothing(count: int, data: st.DataObject) -> None:
    network = settled(count)
    flaky = data.draw(st.sampled_from([PANEL, *network.nodes]))
    network.history.clear()
    for _ in range(30):
        network.blind = {(flaky, target) for target in data.draw(st.sets(st.sampled_from(network.nodes)))}
        network.run(data.draw(st.sampled_from([TICK, 2 * TICK, 1.0])))
    assert not [entry for entry in network.history if entry[3] is not S]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=120))
def test_a_node_that_comes_and_goes_in_any_rhythm_changes_ever_less_often(ticks: list[int]) -> None:
    network = settled(3)
    first = network.nodes[0]
    began = network.now
    for number, count in enumerate(ticks):
        network.dead = set() if number % 2 else {first}
        network.run(count * TICK)
    downs = [at for at, who, _, new in network.history if who == first and new is Health.DOWN]
    doublings = math.log2(QUICK.stable_cap_s / QUICK.stable_s) + 1
    windows = math.ceil((network.now - began) / QUICK.flap_window_s)
    assert len(downs) <= windows * (doublings + 1) + (network.now - began) / (QUICK.stable_cap_s / 2)
    others = [entry for entry in network.history if entry[1] != first]
    assert not others
    suspected = [at for at, who, _, new in network.history if who == first and new is Health.SUSPECT]
    assert all(later - earlier >= QUICK.fresh_s for earlier, later in pairwise(suspected))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.data())
def test_after_a_while_states_agree_with_what_is_dead(count: int, min_nodes: int, data: st.DataObject) -> None:
    network = settled(count, min_nodes=min_nodes)
    dead = data.draw(st.sets(st.sampled_from(network.nodes)))
    network.dead |= dead
    network.run(SETTLED_S)
    alive = count - len(dead)
    states = dict(zip(network.nodes, network.states(), strict=True))
    assert {states[node] for node in network.nodes if node not in dead} <= {S}
    at_once = len(dead) * 2 > count
    expected_down = min(len(dead), max(count - min_nodes, 0)) if alive and not at_once else 0
    assert sum(states[node] is Health.DOWN for node in dead) == expected_down
    assert {states[node] for node in dead} <= {Health.DOWN, Health.SUSPECT}
    network.heal()
    network.run(SETTLED_S)
    assert network.states() == [S] * count


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[NodeId, Observed], dict[NodeId, Standing]]:
    """Draw anything that can be seen and stand; mostly fresh, since what is stale decides nothing."""
    nodes = names(draw(st.integers(1, 4)))
    rarely = st.integers(0, 7).map(lambda number: number == 7)
    states = st.sampled_from([S, S, S, *Health])
    observed = {
        node: Observed(
            node,
            draw(st.booleans()),
            tuple(
                Verdict(
                    vantage,
                    draw(st.integers(0, 3)),
                    None if draw(rarely) else draw(st.floats(990, 1000)),
                    990.0 if draw(rarely) else draw(st.floats(998, 1000)),
                )
                for vantage in [PANEL, *nodes]
                if not draw(rarely)
            ),
            fenced=draw(st.booleans()),
            beside_panel=draw(rarely),
        )
        for node in nodes
    }
    flaps = st.lists(st.floats(900, 990), max_size=4).map(lambda times: tuple(sorted(times)))
    standings = {
        node: Standing(draw(states), draw(st.floats(900, 1000)), "", draw(flaps)) for node in nodes if not draw(rarely)
    }
    return observed, standings


@settings(max_examples=500, deadline=None)
@given(situations(), st.data())
def test_configs_in_which_all_is_well_are_judged_as_all_others(
    situation: tuple[dict[NodeId, Observed], dict[NodeId, Standing]], data: st.DataObject
) -> None:
    observed, standings = situation
    rarely = st.integers(0, 9).map(lambda number: number == 9)
    calm = data.draw(st.booleans())
    for node, seen in observed.items():
        verdicts = tuple(replace(each, failures=0) if calm else each for each in seen.verdicts)
        observed[node] = replace(
            seen,
            verdicts=verdicts,
            agent_missed=data.draw(rarely),
            agent_unheard=data.draw(rarely),
            unseen="no way to it" if data.draw(rarely) else "",
            partly="no answer at 192.0.2.1" if data.draw(rarely) else "",
            silent_addresses=("192.0.2.1",) if data.draw(rarely) else data.draw(st.sampled_from([None, ()])),
        )
        if calm and node in standings and not data.draw(rarely):
            reason = data.draw(st.sampled_from(["answers", f"{judge.UNSEEN}: why", "no answer at 192.0.2.1", "new"]))
            standings[node] = replace(standings[node], state=S, reason=reason)
    given_with: dict[str, Any] = {
        "min_nodes": 1,
        "frozen": data.draw(rarely),
        "unsure": data.draw(rarely),
        "now": 1000.0,
    }
    shortly = decide(observed, standings, QUICK, **given_with)
    with mock.patch.object(judge, "_is_well", return_value=False):
        assert shortly == decide(observed, standings, QUICK, **given_with)


@settings(max_examples=500, deadline=None)
@given(situations(), st.integers(0, 5), st.booleans())
def test_whatever_is_seen_no_decision_goes_beyond_its_evidence(
    situation: tuple[dict[NodeId, Observed], dict[NodeId, Standing]], min_nodes: int, frozen: bool
) -> None:
    observed, standings = situation
    decision = decide(observed, standings, QUICK, min_nodes=min_nodes, frozen=frozen, now=1000.0)
    assert decision == decide(observed, standings, QUICK, min_nodes=min_nodes, frozen=frozen, now=1000.0)
    assert set(decision.standings) == set(observed)
    went = 0
    for node, after in decision.standings.items():
        before = standings.get(node, Standing(S, 1000.0, ""))
        assert before.since <= after.since <= 1000.0
        if after.state is Health.DOWN and before.state is not Health.DOWN:
            went += before.state.in_use
            assert not frozen
            fresh = [v for v in observed[node].verdicts if v.last_try_at is not None and v.last_try_at >= 998.0]
            missing = [v.vantage for v in fresh if v.missing(QUICK)]
            others = [v for v in missing if v in observed and v != node and not observed[NodeId(v)].beside_panel]
            assert others
            assert len([*others, *(v for v in missing if v == PANEL)]) > 1
        if not before.state.in_use and after.state.in_use:
            assert before.state is Health.RECOVERING
            assert observed[node].agent_connected
            assert observed[node].fenced
    if went:
        assert any(
            after.state.in_use and any(v.failures < QUICK.failures for v in observed[node].verdicts)
            for node, after in decision.standings.items()
        ), "there is nowhere to fail over to"
        assert sum(after.state.in_use for after in decision.standings.values()) >= max(min_nodes, 1)


class RandomCuts(RuleBasedStateMachine):
    """Links, interfaces and agents fail and mend at random, and the panel starts over; `Network` checks each step."""

    @initialize(count=st.integers(1, 5), min_nodes=st.integers(1, 3), beside=st.booleans())
    def start(self, count: int, min_nodes: int, beside: bool) -> None:
        self.network = Network(
            names(count), min_nodes=min_nodes, beside_panel=frozenset(names(1)) if beside else frozenset()
        )
        self.network.run(3)

    def links(self) -> Iterator[frozenset[str]]:
        return (frozenset(pair) for pair in combinations([PANEL, *self.network.nodes], 2))

    @rule(data=st.data())
    def cut_or_mend_links(self, data: st.DataObject) -> None:
        self.network.cuts ^= data.draw(st.sets(st.sampled_from(sorted(self.links(), key=sorted)), max_size=3))

    @rule(data=st.data())
    def kill_or_restart_interfaces(self, data: st.DataObject) -> None:
        self.network.dead ^= data.draw(st.sets(st.sampled_from(self.network.nodes), max_size=2))

    @rule(data=st.data())
    def kill_or_restart_agents(self, data: st.DataObject) -> None:
        self.network.no_agent ^= data.draw(st.sets(st.sampled_from(self.network.nodes), max_size=2))

    @rule(data=st.data())
    def cut_somebody_off(self, data: st.DataObject) -> None:
        self.network.isolate(data.draw(st.sampled_from([PANEL, *self.network.nodes])))

    @rule()
    def mend_all(self) -> None:
        self.network.heal()

    @rule()
    def the_panel_starts_over(self) -> None:
        self.network.verdicts.clear()

    @rule(ticks=st.integers(1, 40))
    def time_passes(self, ticks: int) -> None:
        self.network.run(ticks * TICK)

    def teardown(self) -> None:
        if not hasattr(self, "network"):
            return
        self.network.heal()
        self.network.run(SETTLED_S)
        assert self.network.states() == [S] * len(self.network.nodes)
        assert self.network.decision is not None
        assert not self.network.frozen


RandomCuts.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRandomCuts = RandomCuts.TestCase
