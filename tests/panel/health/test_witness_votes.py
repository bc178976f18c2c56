"""What a witness's word is worth: it confirms what the panel or a node misses, and does nothing alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.panel.health.network import QUICK, SETTLED_S, TICK, Network, S, names, settled
from wgfleet.panel.domain.health.blindness import reach_of
from wgfleet.panel.domain.health.judge import PANEL, Health
from wgfleet.protocol.ids import NodeId

W, W2 = NodeId("w0"), NodeId("w1")
HOME = frozenset(names(1))  # the node on the panel's machine


def small(witnesses: dict[NodeId, str], **given: object) -> Network:
    """Return the panel's machine, one more node, and witnesses."""
    return settled(2, beside_panel=HOME, witnesses=witnesses, **given)


def test_beside_the_panels_machine_one_more_node_never_goes_down_without_a_witness() -> None:
    network = small({})
    network.dead.add(network.nodes[1])
    network.run(SETTLED_S)
    assert network.states() == [S, Health.SUSPECT]


def test_beside_the_panels_machine_one_more_node_goes_down_and_comes_back_with_a_witness() -> None:
    network = small({W: ""})
    network.dead.add(network.nodes[1])
    network.run(2)
    assert network.states() == [S, Health.DOWN]
    network.heal()
    network.run(SETTLED_S)
    assert network.states() == [S, S]


def test_wireguard_of_the_panels_machine_goes_down_as_before() -> None:
    network = small({W: ""})
    network.dead.add(network.nodes[0])
    network.run(2)
    assert network.states() == [Health.DOWN, S]


@pytest.mark.parametrize("beside", [frozenset(), HOME], ids=["panel elsewhere", "panel's machine"])
@pytest.mark.parametrize("count", [2, 3])
def test_a_dead_witness_is_as_if_there_were_none(count: int, beside: frozenset[NodeId]) -> None:
    states = []
    for witnesses in ({}, {W: ""}):
        network = settled(count, beside_panel=beside, witnesses=witnesses)
        network.no_agent |= set(witnesses)
        network.run(2 * QUICK.fresh_s)
        network.dead.add(network.nodes[1])
        network.run(2)
        states.append(network.states())
    assert states[0] == states[1]


def test_two_nodes_fail_over_also_where_the_witness_has_just_died() -> None:
    network = settled(2, witnesses={W: ""})
    network.no_agent.add(W)
    network.dead.add(network.nodes[1])
    network.run(2)
    assert network.states() == [S, Health.DOWN]


def test_a_witness_in_the_panels_site_confirms_nothing_that_the_panel_misses() -> None:
    network = small({W: PANEL})
    network.dead.add(network.nodes[1])
    network.run(SETTLED_S)
    assert network.states() == [S, Health.SUSPECT]
    assert "stand in one site" in network.standings[network.nodes[1]].reason


def test_where_all_stand_in_the_panels_site_each_machine_is_one_with_and_without_the_witness() -> None:
    network = settled(3, sites=dict.fromkeys(names(3), PANEL), witnesses={W: "site b"})
    network.no_agent.add(W)
    network.run(2 * QUICK.fresh_s)
    network.dead.add(network.nodes[1])
    network.run(2)
    assert network.states() == [S, Health.DOWN, S]
    near = small({W: PANEL}, sites={names(2)[1]: PANEL})
    near.dead.add(near.nodes[1])
    near.run(2)
    assert near.states() == [S, Health.DOWN]


def test_where_a_witness_alone_says_that_a_dead_node_answers_nobody_says_that_clients_are_served() -> None:
    dead = names(2)[1]
    network = small({W: ""}, lies={(W, dead): True})
    network.dead.add(dead)
    network.no_agent.add(dead)
    network.run(SETTLED_S)
    assert network.states() == [S, Health.UNMANAGED]
    assert "look whether clients are served" in network.standings[dead].reason
    network.heal()
    network.lies.clear()
    network.run(SETTLED_S)
    assert network.standings[dead].reason == "answers"


def test_a_cut_between_panel_and_node_alone_is_no_failover() -> None:
    network = small({W: ""})
    network.cuts.add(frozenset((PANEL, network.nodes[1])))
    network.run(SETTLED_S)
    assert all(state.in_use for state in network.states())


def test_a_panels_machine_that_is_cut_off_takes_nobody_out_of_use_whatever_a_witness_said_before() -> None:
    network = small({W: ""}, lies={(W, NodeId("n1")): False})
    network.isolate(PANEL)
    network.isolate(network.nodes[0])
    network.run(SETTLED_S)
    assert all(state.in_use for state in network.states())
    assert network.moves(network.nodes[1]) == 0


def test_what_witnesses_alone_miss_stays_in_use_and_is_told() -> None:
    network = small({W: "", W2: ""})
    other = network.nodes[1]
    network.lies = {(W, other): False, (W2, other): False}
    network.run(SETTLED_S)
    assert network.states() == [S, S]
    assert "witnesses" in network.standings[other].reason
    network.lies.clear()
    network.run(SETTLED_S)
    assert network.standings[other].reason == "answers"


@pytest.mark.parametrize("beside", [frozenset(), HOME], ids=["panel elsewhere", "panel's machine"])
@pytest.mark.parametrize("count", [2, 3])
def test_a_witness_that_reaches_nobody_takes_no_living_node_out_with_a_cut_in_the_panels_path(
    count: int, beside: frozenset[NodeId]
) -> None:
    network = settled(count, beside_panel=beside, witnesses={W: ""})
    network.history.clear()
    network.cuts |= {frozenset((W, node)) for node in network.nodes}
    network.run(SETTLED_S)
    network.cuts.add(frozenset((PANEL, network.nodes[1])))
    network.run(SETTLED_S)
    assert all(state.in_use for state in network.states())
    assert network.moves(network.nodes[1]) == 0


def test_where_all_others_miss_the_other_nodes_too_a_witness_that_reaches_nobody_counts() -> None:
    network = settled(3, witnesses={W: ""})
    network.cuts |= {frozenset((W, node)) for node in network.nodes}
    network.run(SETTLED_S)
    network.lies = {(W, node): False for node in network.nodes}
    network.dead |= {network.nodes[0]}
    network.run(2)
    assert network.states() == [Health.DOWN, S, S], "the others suffice"
    assert reach_of(network.observed(), QUICK, network.now, {W})[W].is_blind()
    network.dead |= set(network.nodes)
    network.run(2 * QUICK.fresh_s)
    assert not reach_of(network.observed(), QUICK, network.now, {W})


def test_what_one_witness_alone_misses_of_two_nodes_is_told_and_so_is_one_that_misses_both() -> None:
    network = settled(2, witnesses={W: ""})
    for missed in (network.nodes[1:], network.nodes):
        network.lies = {(W, node): False for node in missed}
        network.run(SETTLED_S)
        told = [node for node in network.nodes if "witnesses do not reach it" in network.standings[node].reason]
        assert (told, network.states()) == (missed, [S, S])
    network.lies.clear()
    network.run(SETTLED_S)
    assert {network.standings[node].reason for node in network.nodes} == {"answers"}


def test_a_death_is_decided_at_once_without_a_word_on_the_witness_that_saw_it_first() -> None:
    network = small({W: ""})
    network.dead.add(network.nodes[1])
    reasons = []
    for _ in range(8):
        network.step()
        reasons.append(network.standings[network.nodes[1]].reason)
    assert not [reason for reason in reasons if "witnesses" in reason]


def test_witnesses_that_miss_all_nodes_freeze_nothing() -> None:
    network = small({W: "", W2: ""})
    network.lies = {(witness, node): False for witness in (W, W2) for node in network.nodes}
    network.run(SETTLED_S)
    assert network.frozen is None
    assert not network.quorum.unsure
    network.dead.add(network.nodes[0])
    network.run(2)
    assert network.states() == [Health.DOWN, S]


def test_a_witness_keeps_no_node_from_coming_back() -> None:
    network = small({W: ""})
    network.dead.add(network.nodes[1])
    network.run(2)
    network.dead.clear()
    network.lies[W, network.nodes[1]] = False
    network.run(SETTLED_S)
    assert network.states() == [S, S]


def test_a_fleet_of_many_nodes_asks_no_witness() -> None:
    network = settled(5, witnesses={W: "", W2: ""})
    network.dead.add(network.nodes[0])
    looks = [vantage for _ in range(8) for vantage, _ in network.step().cross_checks]
    assert looks
    assert not {W, W2} & set(looks)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 5), st.booleans(), st.sampled_from(["", PANEL, "site b"]), st.booleans(), st.data())
def test_one_witness_alone_never_takes_a_node_out_of_use_whatever_it_says_and_when(
    count: int, beside: bool, domain: str, second: bool, data: st.DataObject
) -> None:
    witnesses = {W: domain} | ({W2: ""} if second else {})
    network = settled(count, beside_panel=HOME if beside else frozenset(), witnesses=witnesses)
    network.history.clear()
    for _ in range(25):
        said = data.draw(st.dictionaries(st.sampled_from(network.nodes), st.booleans()))
        network.lies = {(W, target): answered for target, answered in said.items()}
        network.no_agent ^= data.draw(st.sets(st.just(W)))
        network.run(data.draw(st.sampled_from([TICK, 2 * TICK, 1.0, 3.0])))
    assert not network.history


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 4), st.booleans(), st.data())
def test_a_lying_witness_stops_no_failover_that_would_be_without_it(
    count: int, beside: bool, data: st.DataObject
) -> None:
    """But for the one that only it makes possible: of the node beside the panel's machine."""
    said = data.draw(st.dictionaries(st.sampled_from(names(count)), st.booleans()))
    states = []
    for witnesses in ({}, {W: ""}):
        lies: dict[tuple[str, NodeId], bool] = {}
        if witnesses:
            lies = {(W, target): answered for target, answered in said.items()}
        network = settled(count, beside_panel=HOME if beside else frozenset(), witnesses=witnesses)
        network.lies = lies
        network.run(2 * QUICK.fresh_s)
        network.dead.add(network.nodes[0 if count == 2 else 1])
        network.run(3)
        states.append(network.states())
    assert states[0] == states[1]
