"""The decision on health: its rules one by one, and a model network that is cut at random.

The model knows who reaches whom. It probes as the panel does, asks nodes as the decision wants it, and checks each
decision against what it may rest on.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from pydantic import ValidationError

from wgfleet.panel.domain.health import (
    PANEL,
    Decision,
    Health,
    HealthRules,
    Observed,
    Standing,
    Verdict,
    cut_off,
    decide,
    stable_period,
)
from wgfleet.panel.settings import Settings
from wgfleet.protocol.ids import NodeId

TICK = 0.25
DEFAULTS = Settings().health.rules
QUICK = HealthRules(
    interval_s=TICK, failures=2, cross_check_s=1, fresh_s=2, stable_s=2, stable_cap_s=8, flap_window_s=60
)
SETTLED_S = 3 * (QUICK.fresh_s + QUICK.stable_cap_s + QUICK.cross_check_s)

S = Health.SERVING
OUT_OF_USE = {Health.DOWN, Health.RECOVERING}


def names(count: int) -> list[NodeId]:
    return [NodeId(f"n{number}") for number in range(count)]


@dataclass
class Network:
    """A panel and nodes of one config; `step` is one interval of the panel's loop."""

    nodes: list[NodeId]
    rules: HealthRules = QUICK
    min_nodes: int = 1
    beside_panel: frozenset[NodeId] = frozenset()
    now: float = 1000.0
    cuts: set[frozenset[str]] = field(default_factory=set)
    blind: set[tuple[str, NodeId]] = field(default_factory=set)
    dead: set[NodeId] = field(default_factory=set)
    no_agent: set[NodeId] = field(default_factory=set)
    unfenced: set[NodeId] = field(default_factory=set)
    verdicts: dict[tuple[str, NodeId], Verdict] = field(default_factory=dict)
    standings: Mapping[NodeId, Standing] = field(default_factory=dict)
    history: list[tuple[float, NodeId, Health, Health]] = field(default_factory=list)
    touched_at: dict[NodeId, float] = field(default_factory=dict)
    decision: Decision | None = None

    def isolate(self, node: str) -> None:
        self.cuts |= {frozenset((node, other)) for other in [PANEL, *self.nodes] if other != node}

    def split(self, side: set[str]) -> None:
        everyone = {PANEL, *self.nodes}
        self.cuts |= {frozenset((here, there)) for here in side for there in everyone - side}

    def heal(self) -> None:
        self.cuts.clear()
        self.dead.clear()
        self.no_agent.clear()

    def linked(self, one: str, other: str) -> bool:
        return frozenset((one, other)) not in self.cuts or {one, other} <= {PANEL, *self.beside_panel}

    def connected(self, node: NodeId) -> bool:
        return node not in self.no_agent and self.linked(PANEL, node)

    def look(self, vantage: str, target: NodeId) -> None:
        old = self.verdicts.get((vantage, target), Verdict(vantage, 0, None, None))
        if self.linked(vantage, target) and target not in self.dead and (vantage, target) not in self.blind:
            self.verdicts[vantage, target] = Verdict(vantage, 0, self.now, self.now)
        else:
            self.verdicts[vantage, target] = replace(old, failures=old.failures + 1, last_try_at=self.now)
            self.touched_at[target] = self.now

    def observed(self) -> dict[NodeId, Observed]:
        return {
            node: Observed(
                node,
                self.connected(node),
                tuple(verdict for (_, target), verdict in self.verdicts.items() if target == node),
                fenced=node not in self.unfenced,
                beside_panel=node in self.beside_panel,
            )
            for node in self.nodes
        }

    def step(self) -> Decision:
        self.now += TICK
        for node in self.nodes:
            self.look(PANEL, node)
        observed = self.observed()
        frozen = cut_off(observed.values(), self.now, self.rules) is not None
        before = self.standings
        decision = decide(observed, before, self.rules, self.min_nodes, frozen, self.now)
        self.check(before, decision, frozen)
        self.standings, self.decision = decision.standings, decision
        for vantage, target in decision.ask:
            if self.connected(vantage):
                self.look(vantage, target)
        return decision

    def check(self, before: Mapping[NodeId, Standing], decision: Decision, frozen: bool) -> None:
        after = decision.standings
        left = 0
        for node, standing in after.items():
            old = before.get(node, Standing(S, self.now, ""))
            assert old.since <= standing.since <= self.now
            assert list(standing.flaps) == sorted(standing.flaps)
            if old.state is not standing.state:
                self.history.append((self.now, node, old.state, standing.state))
                assert standing.since == self.now
            if standing.state is Health.DOWN and old.state is not Health.DOWN:
                assert not frozen
                assert standing.flaps[-1] == self.now
                assert self.now - self.touched_at[node] <= self.rules.fresh_s, "everybody reaches it"
                needed = self.rules.failures if old.state.in_use else 1
                missing = [v for (_, target), v in self.verdicts.items() if target == node and v.failures >= needed]
                assert any(v.vantage not in {PANEL, node, *self.beside_panel} for v in missing), "no node confirms"
                assert len(missing) > 1
            if old.state is Health.DOWN:
                assert standing.state in OUT_OF_USE, "serves without a trial"
            left += old.state.in_use and not standing.state.in_use
        if left:
            assert sum(standing.state.in_use for standing in after.values()) >= self.min_nodes
        for vantage, target in decision.ask:
            assert vantage != target
            assert self.connected(vantage)
            assert vantage not in self.beside_panel
        assert len(set(decision.ask)) == len(decision.ask) <= 3 * len(self.nodes)

    def run(self, seconds: float) -> None:
        for _ in range(math.ceil(seconds / TICK)):
            self.step()

    def states(self) -> list[Health]:
        return [self.standings[node].state for node in self.nodes]

    def moves(self, node: NodeId) -> int:
        """Count how often the node was taken out of use: each time its peers move."""
        return sum(1 for _, who, old, new in self.history if who == node and old.in_use and not new.in_use)


def settled(count: int, **given: object) -> Network:
    network = Network(names(count), **given)  # type: ignore[arg-type]  # fields of the network
    network.run(2 * QUICK.fresh_s)
    assert network.states() == [S] * count
    return network


# One rule each


def test_a_dead_node_is_down_within_a_second_of_the_first_probe_that_it_missed() -> None:
    network = settled(3, rules=DEFAULTS)
    network.dead.add(network.nodes[0])
    network.run(4 * TICK)
    assert network.states() == [Health.DOWN, S, S]
    assert network.standings[network.nodes[0]].reason == "no answer to 3 of 3 vantage points"


def test_nodes_are_asked_as_soon_as_one_probe_is_missed() -> None:
    network = settled(5, rules=DEFAULTS)
    network.run(TICK)
    network.dead.add(network.nodes[0])
    asked = [vantage for vantage, target in network.step().ask if target == network.nodes[0]]
    assert len(asked) == 3


def test_a_node_that_the_panel_reaches_and_the_others_do_not_is_down() -> None:
    network = settled(3)
    first, *others = network.nodes
    network.cuts |= {frozenset((first, other)) for other in others}
    network.run(QUICK.cross_check_s + 1)
    assert network.states() == [Health.DOWN, S, S]
    network.run(SETTLED_S)
    assert network.states() == [Health.DOWN, S, S]
    assert network.moves(first) == 1


def test_an_only_node_is_never_down() -> None:
    network = settled(1)
    network.dead.add(network.nodes[0])
    network.run(SETTLED_S)
    assert network.states() == [Health.SUSPECT]
    assert "only node" in network.standings[network.nodes[0]].reason


def test_of_two_nodes_one_is_down_when_panel_and_other_miss_it() -> None:
    network = settled(2)
    network.dead.add(network.nodes[0])
    network.run(2)
    assert network.states() == [Health.DOWN, S]
    network.heal()
    network.run(SETTLED_S)
    assert network.states() == [S, S]


@pytest.mark.parametrize("one", [PANEL, "n1"])
def test_of_two_nodes_none_is_down_when_only_one_side_misses_it(one: str) -> None:
    network = settled(2)
    network.cuts.add(frozenset((one, network.nodes[0])))
    network.run(SETTLED_S)
    assert all(state.in_use for state in network.states())
    assert network.moves(network.nodes[0]) == network.moves(network.nodes[1]) == 0


def test_a_node_without_its_agent_is_unmanaged_and_stays_in_use() -> None:
    network = settled(3)
    network.no_agent.add(network.nodes[0])
    network.run(SETTLED_S)
    assert network.states() == [Health.UNMANAGED, S, S]
    assert network.moves(network.nodes[0]) == 0
    network.heal()
    network.run(SETTLED_S)
    assert network.states() == [S, S, S]


def test_a_node_without_agent_that_stops_serving_is_down() -> None:
    network = settled(3)
    network.no_agent.add(network.nodes[0])
    network.run(5)
    network.dead.add(network.nodes[0])
    network.run(2)
    assert network.states() == [Health.DOWN, S, S]


def test_the_floor_keeps_a_dead_node_and_says_so() -> None:
    network = settled(3, min_nodes=3)
    network.dead.add(network.nodes[0])
    network.run(5)
    assert network.states() == [Health.SUSPECT, S, S]
    assert "min_nodes" in network.standings[network.nodes[0]].reason


def test_below_the_floor_a_node_that_answers_is_used_without_a_trial() -> None:
    network = settled(2)
    first, second = network.nodes
    network.dead.add(first)
    network.run(2)
    network.dead.add(second)
    network.run(1)
    assert network.states() == [Health.DOWN, Health.SUSPECT]
    network.dead.remove(first)
    network.run(1)
    assert network.states()[0] is S
    network.run(2)
    assert network.states() == [S, Health.DOWN]


def test_a_node_that_is_not_fenced_is_not_used() -> None:
    network = settled(3)
    first = network.nodes[0]
    network.dead.add(first)
    network.run(2)
    network.unfenced.add(first)
    network.heal()
    network.run(SETTLED_S)
    assert network.states() == [Health.RECOVERING, S, S]
    assert "sessions" in network.standings[first].reason
    network.unfenced.clear()
    network.run(TICK)
    assert network.states() == [S, S, S]


def test_a_node_that_nobody_sees_does_not_pass_its_trial() -> None:
    network = settled(3)
    first = network.nodes[0]
    network.dead.add(first)
    network.run(2)
    network.heal()
    network.run(QUICK.cross_check_s + TICK)
    assert network.states()[0] is Health.RECOVERING
    for _ in range(20):  # the panel goes on without a word about it
        network.now += 1
        network.verdicts.clear()
        network.standings = decide(network.observed(), network.standings, QUICK, 1, False, network.now).standings
    network.step()
    assert network.states()[0] is Health.RECOVERING


def test_a_node_on_trial_is_down_with_the_first_probe_that_most_miss() -> None:
    network = settled(3)
    first = network.nodes[0]
    network.dead.add(first)
    network.run(2)
    network.heal()
    network.run(QUICK.cross_check_s + TICK)
    assert network.states()[0] is Health.RECOVERING
    network.dead.add(first)
    network.run(2 * TICK)
    assert network.states()[0] is Health.DOWN


def test_a_clock_that_was_set_back_holds_nobody_up() -> None:
    network = settled(3)
    network.dead.add(network.nodes[0])
    network.run(2)
    network.heal()
    network.run(QUICK.cross_check_s + TICK)
    network.now -= 500
    network.verdicts.clear()
    network.standings = decide(network.observed(), network.standings, QUICK, 1, False, network.now).standings
    network.run(SETTLED_S)
    assert network.states() == [S, S, S]


def test_where_no_node_answers_all_stay_until_one_does() -> None:
    network = settled(3)
    network.dead |= set(network.nodes)
    network.run(SETTLED_S)
    assert network.states() == [Health.SUSPECT] * 3
    network.dead.discard(network.nodes[1])
    network.run(1 + QUICK.cross_check_s)
    assert network.states() == [Health.DOWN, S, Health.DOWN]


def test_the_trial_doubles_with_each_relapse_up_to_the_cap_and_is_forgotten_in_time() -> None:
    flaps = tuple(float(number) for number in range(10))
    periods = [stable_period(flaps[:count], DEFAULTS, 10) for count in range(11)]
    assert periods == [10, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600]
    assert stable_period(flaps, DEFAULTS, DEFAULTS.flap_window_s + 8.5) == 10


def test_when_only_the_panel_is_cut_off_nothing_is_withdrawn_and_it_says_so_until_it_sees_again() -> None:
    network = settled(4)
    network.isolate(PANEL)
    network.run(QUICK.cross_check_s + 2)
    assert network.decision is not None
    assert network.decision.frozen
    assert "4 of 4 nodes" in str(network.decision.frozen_reason)
    network.run(SETTLED_S)
    assert not [entry for entry in network.history if entry[3] in OUT_OF_USE]
    network.heal()
    network.run(TICK)
    assert not network.decision.frozen
    network.run(SETTLED_S)
    assert network.states() == [S] * 4


def test_a_node_on_the_panels_machine_confirms_nothing() -> None:
    network = settled(4, beside_panel=frozenset({NodeId("n0")}))
    network.split({PANEL, "n0"})
    network.run(SETTLED_S)
    assert not [entry for entry in network.history if entry[3] in OUT_OF_USE]
    assert network.decision is not None
    assert network.decision.frozen


def test_two_of_three_nodes_cut_off_are_down_when_the_third_confirms_it() -> None:
    network = settled(3)
    network.split({"n0", "n1"})
    network.run(QUICK.fresh_s + 1)
    assert network.states() == [Health.DOWN, Health.DOWN, S]


def test_nodes_that_were_dead_long_before_do_not_hide_that_the_panel_is_cut_off() -> None:
    network = settled(5)
    network.dead |= set(network.nodes[:2])
    network.run(20)
    network.isolate(PANEL)
    network.run(5)
    assert network.decision is not None
    assert network.decision.frozen
    assert network.states() == [Health.DOWN] * 2 + [Health.SUSPECT] * 3


def test_nodes_that_die_one_after_the_other_are_no_cut() -> None:
    observed = [
        Observed(node, False, (Verdict(PANEL, 9, 900.0 + 20 * number, 1000.0),)) for number, node in enumerate(names(4))
    ]
    assert cut_off(observed, 1000.0, QUICK) is None


def test_a_node_that_has_never_answered_is_no_sign_of_a_cut() -> None:
    observed = [Observed(node, False, (Verdict(PANEL, 9, None, 1000.0),)) for node in names(4)]
    assert cut_off(observed, 1000.0, QUICK) is None


def test_without_a_verdict_nothing_changes() -> None:
    before = {
        node: Standing(state, 5.0, "as it was", (5.0,)) for node, state in zip(names(4), list(Health)[:4], strict=True)
    }
    observed = {node: Observed(node, True, ()) for node in before}
    after = decide(observed, before, QUICK, 1, False, 6.0)
    assert after.standings == before
    assert {target for _, target in after.ask} == set(before)


def test_looks_are_spread_evenly_over_the_nodes() -> None:
    observed = {node: Observed(node, True, ()) for node in names(30)}
    asks = decide(observed, {}, QUICK, 1, False, 6.0).ask
    for place in (0, 1):
        assert {node: sum(ask[place] == node for ask in asks) for node in observed} == dict.fromkeys(observed, 3)


def test_twenty_flaps_in_five_minutes_move_peers_three_times_at_most() -> None:
    for up_s in (1.0, 5.0, 12.0):
        network = settled(3, rules=DEFAULTS)
        first = network.nodes[0]
        for _ in range(20):
            network.dead.add(first)
            network.run(15 - up_s)
            network.heal()
            network.run(up_s)
        assert 1 <= network.moves(first) <= 3


@pytest.mark.parametrize(
    "wrong",
    [{"fresh_s": 2.2}, {"interval_s": 5}, {"stable_s": 700}, {"flap_window_s": 500}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="raise"):
        Settings.model_validate({"health": wrong})


# Properties


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
    expected_down = min(len(dead), max(count - min_nodes, 0)) if alive else 0
    assert sum(states[node] is Health.DOWN for node in dead) == expected_down
    assert {states[node] for node in dead} <= {Health.DOWN, Health.SUSPECT}
    network.heal()
    network.run(SETTLED_S)
    assert network.states() == [S] * count


verdict_lists = st.lists(
    st.builds(
        Verdict,
        vantage=st.sampled_from([PANEL, *names(4)]),
        failures=st.integers(0, 6),
        last_ok_at=st.none() | st.floats(980, 1000),
        last_try_at=st.none() | st.floats(990, 1000),
    ),
    max_size=5,
    unique_by=lambda verdict: verdict.vantage,
).map(tuple)


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[NodeId, Observed], dict[NodeId, Standing]]:
    nodes = names(draw(st.integers(1, 4)))
    observed = {
        node: Observed(node, draw(st.booleans()), draw(verdict_lists), draw(st.booleans()), draw(st.booleans()))
        for node in nodes
    }
    flaps = st.lists(st.floats(900, 990), max_size=4).map(lambda times: tuple(sorted(times)))
    standings = {
        node: Standing(draw(st.sampled_from(Health)), draw(st.floats(900, 1000)), "", draw(flaps))
        for node in nodes
        if draw(st.integers(0, 3))
    }
    return observed, standings


@settings(max_examples=500, deadline=None)
@given(situations(), st.integers(0, 5), st.booleans())
def test_whatever_is_seen_no_decision_goes_beyond_its_evidence(
    situation: tuple[dict[NodeId, Observed], dict[NodeId, Standing]], min_nodes: int, frozen: bool
) -> None:
    observed, standings = situation
    decision = decide(observed, standings, QUICK, min_nodes, frozen, 1000.0)
    assert decision == decide(observed, standings, QUICK, min_nodes, frozen, 1000.0)
    assert set(decision.standings) == set(observed)
    went = 0
    for node, after in decision.standings.items():
        before = standings.get(node, Standing(S, 1000.0, ""))
        assert before.since <= after.since <= 1000.0
        if after.state is Health.DOWN and before.state is not Health.DOWN:
            went += before.state.in_use
            assert not frozen
            fresh = [v for v in observed[node].verdicts if v.last_try_at is not None and v.last_try_at >= 998.0]
            missing = [v.vantage for v in fresh if v.failures >= (QUICK.failures if before.state.in_use else 1)]
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
        ), "there is none to move to"
        assert sum(after.state.in_use for after in decision.standings.values()) >= max(min_nodes, 1)
    assert decision.frozen is (decision.frozen_reason is not None)


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
        assert not self.network.decision.frozen


RandomCuts.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRandomCuts = RandomCuts.TestCase
