"""The quorum of all nodes in use, and failure domains: one site's failure takes nobody else out."""

from dataclasses import replace

import pytest

from tests.panel.health.network import DEFAULTS, OUT_OF_USE, QUICK, SETTLED_S, TICK, Network, S, names, settled
from wgfleet.panel.domain.health.judge import PANEL, Health, HealthRules, Observed, Standing, Verdict, decide
from wgfleet.panel.domain.health.quorum import freeze
from wgfleet.panel.domain.health.votes import domains
from wgfleet.protocol.ids import NodeId


def taken_out(network: Network) -> list[NodeId]:
    return [node for _, node, before, after in network.history if before.in_use and after in OUT_OF_USE]


@pytest.mark.parametrize("marked", [False, True], ids=["unmarked", "marked"])
@pytest.mark.parametrize("rules", [QUICK, DEFAULTS], ids=["quick", "defaults"])
def test_a_cut_site_with_the_panel_and_one_node_takes_none_of_the_nine_others_out(
    *, marked: bool, rules: HealthRules
) -> None:
    network = settled(10, rules=rules, sites={NodeId("n0"): PANEL} if marked else {})
    network.split({PANEL, "n0"})
    network.run(120)
    assert network.states() == [S] + [Health.SUSPECT] * 9
    assert network.frozen is not None
    assert len(network.frozen.nodes) == 9
    network.heal()
    network.run(10)
    assert network.frozen is None
    assert network.states() == [S] * 10
    assert taken_out(network) == []


def test_a_panel_that_starts_while_it_is_cut_off_takes_nobody_out() -> None:
    network = Network(names(10))
    network.split({PANEL, "n0"})
    network.run(120)
    assert network.frozen is not None
    assert taken_out(network) == []
    network.heal()
    network.run(20)
    assert network.states() == [S] * 10


@pytest.mark.parametrize("nodes", [3, 4, 7, 10])
def test_a_fleet_may_die_one_by_one(nodes: int) -> None:
    network = settled(nodes)
    for number in range(nodes - 1):
        network.dead.add(network.nodes[number])
        network.run(QUICK.at_once_s + 2)
        assert network.frozen is None
        assert network.states()[: number + 1] == [Health.DOWN] * (number + 1)


def test_half_at_once_is_not_more_than_half() -> None:
    network = settled(4)
    network.dead |= set(network.nodes[:2])
    network.run(3)
    assert network.states() == [Health.DOWN, Health.DOWN, S, S]


def test_more_than_half_at_once_waits_for_a_person_however_long_and_then_goes_on() -> None:
    network = settled(5)
    network.dead |= set(network.nodes[:3])
    network.run(600)
    assert network.states() == [Health.SUSPECT] * 3 + [S] * 2
    assert network.frozen is not None
    assert network.frozen.nodes == tuple(network.nodes[:3])
    assert "3 of 5 nodes" in network.frozen.reason
    assert "cut off" not in network.frozen.reason
    network.approved = set(network.frozen.nodes)
    network.run(2)
    assert network.states() == [Health.DOWN] * 3 + [S] * 2


def test_what_was_approved_takes_nobody_out_who_answers() -> None:
    network = settled(5)
    network.dead |= set(network.nodes[:3])
    network.run(5)
    network.approved = set(network.nodes[:3])
    network.heal()
    network.run(60)
    assert taken_out(network) == []


def test_a_failure_that_is_noticed_in_two_steps_is_one_failure() -> None:
    network = settled(5)
    network.dead |= set(network.nodes[:2])
    network.run(1)
    assert network.states()[:2] == [Health.DOWN] * 2
    network.dead.add(network.nodes[2])
    network.run(60)
    assert network.frozen is not None
    assert network.states() == [Health.DOWN, Health.DOWN, Health.SUSPECT, S, S]
    network.dead.clear()
    network.run(SETTLED_S)
    assert network.states() == [S] * 5


def test_a_node_that_was_silent_long_before_counts_neither_way() -> None:
    network = settled(5, min_nodes=4)
    network.dead.add(network.nodes[0])
    network.run(20)
    network.dead.add(network.nodes[1])
    network.run(20)
    assert network.frozen is None
    assert network.states() == [Health.DOWN, Health.SUSPECT, S, S, S]
    network.isolate(PANEL)
    network.run(20)
    assert network.frozen is not None
    assert network.states() == [Health.DOWN] + [Health.SUSPECT] * 4


def test_when_only_the_panel_is_cut_off_it_says_so_until_it_sees_again() -> None:
    network = settled(4)
    network.isolate(PANEL)
    network.run(QUICK.fresh_s + 2)
    assert network.frozen is not None
    assert "cut off" in network.frozen.reason
    network.run(SETTLED_S)
    assert taken_out(network) == []
    network.heal()
    network.run(QUICK.fresh_s + TICK)
    assert network.frozen is None


def test_nodes_of_one_site_alone_take_nobody_out() -> None:
    far = {NodeId(f"n{number}"): "far" for number in (1, 2, 3)}
    network = settled(5, sites=far)
    network.cuts |= {frozenset(("n0", node)) for node in far}
    network.run(SETTLED_S)
    assert taken_out(network) == []
    assert all(state.in_use for state in network.states())


def test_the_panels_site_alone_takes_nobody_out_and_asks() -> None:
    here = {NodeId("n0"): PANEL, NodeId("n1"): PANEL, NodeId("n2"): PANEL}
    network = settled(5, sites=here | {NodeId("n3"): "far", NodeId("n4"): "far"})
    network.split({PANEL, *here})
    network.run(60)
    assert network.states() == [S] * 3 + [Health.SUSPECT] * 2
    assert network.decision is not None
    assert network.decision.one_sided == (NodeId("n3"), NodeId("n4"))
    network.approved = {NodeId("n3"), NodeId("n4")}
    network.run(2)
    assert network.states() == [S] * 3 + [Health.DOWN] * 2


@pytest.mark.parametrize("dead", ["n0", "n1", "n3"])
def test_a_node_that_dies_is_down_wherever_its_neighbors_stand(dead: str) -> None:
    sites = {NodeId("n0"): PANEL, NodeId("n1"): PANEL, NodeId("n2"): "far", NodeId("n3"): "far"}
    network = settled(4, sites=sites)
    network.dead.add(NodeId(dead))
    network.run(2)
    assert network.standings[NodeId(dead)].state is Health.DOWN


def test_where_all_stand_in_the_panels_site_each_machine_counts() -> None:
    network = settled(3, sites=dict.fromkeys(names(3), PANEL))
    assert len(set(domains(network.observed().values()).values())) == 4
    network.dead.add(network.nodes[0])
    network.run(2)
    assert network.states() == [Health.DOWN, S, S]


def test_other_sites_are_asked_before_neighbors() -> None:
    sites = {NodeId(f"n{number}"): "abc"[number // 3] for number in range(9)}
    network = settled(9, sites=sites)
    network.step()
    network.verdicts.clear()
    asks = decide(network.observed(), network.standings, QUICK, min_nodes=1, frozen=False, now=network.now).cross_checks
    for target in network.nodes:
        first_two = [sites[vantage] for vantage, asked in asks if asked == target][:2]
        assert set(first_two) == set("abc") - {sites[target]}


def test_a_node_on_the_panels_machine_confirms_nothing() -> None:
    network = settled(4, beside_panel=frozenset({NodeId("n0")}))
    network.split({PANEL, "n0"})
    network.run(SETTLED_S)
    assert taken_out(network) == []
    assert network.frozen is not None
    assert "cut off" in network.frozen.reason


def test_what_nobody_has_looked_at_is_not_lost() -> None:
    standing = Standing(S, 0.0, "")
    unseen = [(Observed(node, False, ()), standing) for node in names(5)]
    assert freeze(unseen, {}, QUICK, 1000.0) is None
    stale = replace(unseen[0][0], verdicts=(Verdict(PANEL, 9, 1.0, 2.0),))
    assert freeze([(stale, standing), *unseen[1:]], {}, QUICK, 1000.0) is None


def test_a_node_counts_once_however_many_configs_it_serves() -> None:
    standing = Standing(S, 0.0, "")
    lost, heard = (Verdict(PANEL, 9, 990.0, 1000.0),), (Verdict(PANEL, 0, 1000.0, 1000.0),)
    seen = [Observed(NodeId("a"), True, lost) for _ in range(5)]
    seen += [Observed(NodeId(node), True, heard) for node in "bc"]
    assert freeze([(each, standing) for each in seen], {}, QUICK, 1000.0) is None
    both = [*seen, Observed(NodeId("d"), True, lost), Observed(NodeId("d"), True, heard)]
    assert freeze([(each, standing) for each in both], {}, QUICK, 1000.0) is None
