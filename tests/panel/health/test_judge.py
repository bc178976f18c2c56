"""The decision on health, rule by rule."""

from dataclasses import replace
from itertools import pairwise

import pytest
from pydantic import ValidationError

from tests.panel.health.network import DEFAULTS, QUICK, SETTLED_S, TICK, Network, S, names, settled
from wgfleet.panel.domain.health.judge import (
    PANEL,
    Health,
    Observed,
    Standing,
    Verdict,
    decide,
    stable_period,
)
from wgfleet.panel.settings import Settings


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
    asked = [vantage for vantage, target in network.step().cross_checks if target == network.nodes[0]]
    assert len(asked) == 3


def test_what_others_saw_while_agents_came_one_after_another_delays_no_verdict() -> None:
    nodes = names(12)
    network = Network(nodes, rules=DEFAULTS, no_agent=set(nodes))
    for node in reversed(nodes):
        network.no_agent.discard(node)
        network.step()
    network.step()
    victim = nodes[0]
    assert sum(target == victim for _, target in network.verdicts) > 2 * 4, "more have looked than are asked"
    network.dead.add(victim)
    network.run(4 * TICK)
    down = [node for node, standing in network.standings.items() if standing.state is Health.DOWN]
    assert down == [victim]


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


def test_the_panels_word_alone_makes_a_suspect_and_no_more() -> None:
    network = settled(3)
    first, *others = network.nodes
    network.no_agent |= set(others)
    network.run(2 * QUICK.fresh_s)
    network.dead.add(first)
    network.run(SETTLED_S)
    assert network.states() == [Health.SUSPECT, Health.UNMANAGED, Health.UNMANAGED]
    assert "no second vantage point" in network.standings[first].reason


def test_a_node_that_comes_back_for_some_only_stays_down() -> None:
    network = settled(3)
    first, second, third = network.nodes
    network.dead.add(first)
    network.run(2)
    network.dead.clear()
    network.blind = {(PANEL, first), (second, first)}
    network.run(SETTLED_S)
    assert network.states() == [Health.DOWN, S, S]
    assert Health.RECOVERING not in [new for *_, new in network.history]
    network.blind = {(third, first)}
    network.run(SETTLED_S)
    assert network.states() == [S, S, S]


@pytest.mark.parametrize("one", [PANEL, "n1"])
def test_of_two_nodes_none_is_down_when_only_one_side_misses_it(one: str) -> None:
    network = settled(2)
    network.cuts.add(frozenset((one, network.nodes[0])))
    network.run(SETTLED_S)
    assert all(state.in_use for state in network.states())
    assert network.moves(network.nodes[0]) == network.moves(network.nodes[1]) == 0


def test_of_two_nodes_the_one_that_is_out_of_use_is_still_heard() -> None:
    network = settled(2)
    first, second = network.nodes
    network.dead.add(first)
    network.run(2)
    network.blind.add((PANEL, second))
    network.run(SETTLED_S)
    assert network.states() == [Health.DOWN, S]


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


def test_a_leaving_node_that_dies_is_not_kept_by_the_floor_and_does_not_count_for_it() -> None:
    network = settled(3, min_nodes=2)
    leaving, staying, _ = network.nodes
    network.leaving.add(leaving)
    network.dead.add(staying)
    network.run(5)
    assert network.states() == [S, Health.SUSPECT, S]
    assert "min_nodes" in network.standings[staying].reason
    network.heal()
    network.run(5)
    network.dead.add(leaving)
    network.run(5)
    assert network.states() == [Health.DOWN, S, S]


def test_a_leaving_node_is_no_refuge() -> None:
    network = settled(3)
    staying, *others = network.nodes
    network.leaving |= set(others)
    network.dead.add(staying)
    network.run(5)
    assert network.states() == [Health.SUSPECT, S, S]
    assert "nowhere to fail over" in network.standings[staying].reason


def test_a_leaving_node_that_answers_again_does_not_skip_its_trial_for_the_floor() -> None:
    network = settled(3, min_nodes=2)
    leaving, staying, _ = network.nodes
    network.leaving.add(leaving)
    network.dead.add(leaving)
    network.run(2)
    network.dead.add(staying)
    network.run(1)
    network.dead.remove(leaving)
    network.run(1 + QUICK.cross_check_s)
    assert network.states() == [Health.RECOVERING, Health.SUSPECT, S]


def test_of_two_that_die_at_once_the_floor_keeps_the_one_that_answered_last() -> None:
    network = settled(4, min_nodes=3)
    first, second = network.nodes[:2]
    verdicts = {first: 999.0, second: 998.0}
    observed = network.observed() | {
        node: Observed(node, True, tuple(Verdict(seen, 3, at, network.now) for seen in (PANEL, "n2", "n3")))
        for node, at in verdicts.items()
    }
    after = decide(observed, network.standings, QUICK, min_nodes=3, frozen=False, now=network.now).standings
    assert [after[node].state for node in network.nodes] == [Health.SUSPECT, Health.DOWN, S, S]


def test_below_the_floor_a_node_that_answers_is_used_without_a_trial() -> None:
    network = settled(2)
    first, second = network.nodes
    network.dead.add(first)
    network.run(2)
    network.dead.add(second)
    network.run(1)
    assert network.states() == [Health.DOWN, Health.SUSPECT]
    network.dead.remove(first)
    network.run(1 + QUICK.cross_check_s)
    assert network.states()[0] is S
    network.run(2 + QUICK.fresh_s)
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
        network.standings = decide(
            network.observed(), network.standings, QUICK, min_nodes=1, frozen=False, now=network.now
        ).standings
    network.step()
    assert network.states()[0] is Health.RECOVERING


def test_a_node_on_trial_goes_down_when_most_miss_it_and_not_for_a_lost_probe() -> None:
    network = settled(3)
    first = network.nodes[0]
    network.dead.add(first)
    network.run(2)
    network.heal()
    network.run(QUICK.cross_check_s + TICK)
    assert network.states()[0] is Health.RECOVERING
    for vantage in (PANEL, *network.nodes[1:]):
        network.verdicts[vantage, first] = replace(network.verdicts[vantage, first], failures=1)
    network.run(2 * TICK)
    assert network.states()[0] is Health.RECOVERING
    network.dead.add(first)
    network.run(3 * TICK)
    assert network.states()[0] is Health.DOWN


def test_a_clock_that_was_set_back_holds_nobody_up() -> None:
    network = settled(3)
    network.dead.add(network.nodes[0])
    network.run(2)
    network.heal()
    network.run(QUICK.cross_check_s + TICK)
    network.now -= 500
    network.verdicts.clear()
    network.standings = decide(
        network.observed(), network.standings, QUICK, min_nodes=1, frozen=False, now=network.now
    ).standings
    network.run(SETTLED_S)
    assert network.states() == [S, S, S]


def test_where_no_node_answers_all_stay_until_most_do() -> None:
    network = settled(3)
    network.dead |= set(network.nodes)
    network.run(SETTLED_S)
    assert network.states() == [Health.SUSPECT] * 3
    network.dead.discard(network.nodes[1])
    network.run(2 + QUICK.fresh_s)
    assert network.states() == [Health.SUSPECT, S, Health.SUSPECT]
    network.dead.discard(network.nodes[2])
    network.run(2 + QUICK.fresh_s)
    assert network.states() == [Health.DOWN, S, S]


def test_the_trial_doubles_with_each_relapse_up_to_the_cap_and_is_forgotten_in_time() -> None:
    flaps = tuple(float(number) for number in range(10))
    periods = [stable_period(flaps[:count], DEFAULTS, 10) for count in range(11)]
    assert periods == [10, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600]
    assert stable_period(flaps, DEFAULTS, DEFAULTS.flap_window_s + 8.5) == 10


def test_without_a_verdict_nothing_changes() -> None:
    before = {
        node: Standing(state, 5.0, "as it was", (5.0,)) for node, state in zip(names(4), list(Health)[:4], strict=True)
    }
    observed = {node: Observed(node, True, ()) for node in before}
    after = decide(observed, before, QUICK, min_nodes=1, frozen=False, now=6.0)
    assert after.standings == before
    assert {target for _, target in after.cross_checks} == set(before)


def test_looks_are_spread_evenly_over_the_nodes() -> None:
    observed = {node: Observed(node, True, ()) for node in names(30)}
    asks = decide(observed, {}, QUICK, min_nodes=1, frozen=False, now=6.0).cross_checks
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


def test_a_node_that_dies_whenever_it_is_on_trial_is_tried_ever_less_often() -> None:
    network = settled(3, rules=DEFAULTS)
    first = network.nodes[0]
    for _ in range(round(600 / TICK)):
        network.dead = set() if network.standings[first].state is Health.DOWN else {first}
        network.step()
    downs = [at for at, _, _, new in network.history if new is Health.DOWN]
    assert len(downs) == 7
    assert [round(later - earlier, -1) for earlier, later in pairwise(downs)] == [0, 10, 20, 40, 80, 160]


def test_a_suspicion_stands_long_enough_to_be_seen() -> None:
    network = settled(1)
    first = network.nodes[0]
    for _ in range(round(60 / TICK)):
        network.dead = {first} if network.standings[first].state is S else set()
        network.step()
    suspected = [at for at, _, _, new in network.history if new is Health.SUSPECT]
    assert len(suspected) > 10
    assert min(later - earlier for earlier, later in pairwise(suspected)) >= QUICK.fresh_s


@pytest.mark.parametrize(
    "wrong",
    [{"fresh_s": 2.05}, {"interval_s": 5}, {"stable_s": 700}, {"flap_window_s": 500}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="raise"):
        Settings.model_validate({"health": wrong})


def test_what_the_panel_cannot_look_at_is_said_and_is_no_miss() -> None:
    first, *others = names(3)
    answers = tuple(Verdict(other, 0, 1000.0, 1000.0) for other in others)
    before = {node: Standing(S, 5.0, "answers") for node in names(3)}
    blind = Observed(first, True, (), unseen="cannot send: Network is unreachable")
    observed = {first: blind} | {node: Observed(node, True, ()) for node in others}
    after = decide(observed, before, QUICK, min_nodes=1, frozen=False, now=1000.0).standings[first]
    assert after.state is S
    assert after.reason == "the panel cannot look at it: cannot send: Network is unreachable"
    seen = observed | {first: replace(blind, verdicts=answers)}
    again = decide(seen, before | {first: after}, QUICK, min_nodes=1, frozen=False, now=1000.0).standings[first]
    assert again.reason == after.reason
    missed = tuple(Verdict(other, 9, 990.0, 1000.0) for other in others)
    gone = decide(
        observed | {first: replace(blind, verdicts=missed), others[0]: Observed(others[0], True, answers)},
        before,
        QUICK,
        min_nodes=1,
        frozen=False,
        now=1000.0,
    )
    assert gone.standings[first].state is Health.DOWN, "two other nodes are enough"
    mended = observed | {first: Observed(first, True, (Verdict(PANEL, 0, 1000.0, 1000.0),))}
    well = decide(mended, before | {first: after}, QUICK, min_nodes=1, frozen=False, now=1000.0).standings[first]
    assert well.reason == "answers"
