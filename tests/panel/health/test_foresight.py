"""What is said beforehand of a node's death is what becomes of it."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.panel.health.network import QUICK, Network, S, names
from wgfleet.panel.domain.health.foresight import without_failover
from wgfleet.panel.domain.health.holds import HoldReason
from wgfleet.panel.domain.health.judge import PANEL, Health, Witness
from wgfleet.protocol.ids import NodeId

W, W2 = NodeId("w0"), NodeId("w1")
HOME = frozenset(names(1))


def foreseen(network: Network, *, paused: bool = False) -> dict[NodeId, HoldReason]:
    return without_failover(
        network.observed(),
        network.standings,
        network.rules,
        min_nodes=network.min_nodes,
        paused=paused,
        witnesses=[Witness(each, network.connected(each), domain) for each, domain in network.witnesses.items()],
    )


def calm(count: int, **given: object) -> Network:
    network = Network(names(count), **given)  # type: ignore[arg-type]  # fields of the network
    network.run(3 * QUICK.fresh_s)
    return network


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (calm(1), {"n0": "only_node"}),
        (calm(2), {}),
        (calm(2, beside_panel=HOME), {"n1": "unconfirmed"}),
        (calm(2, beside_panel=HOME, witnesses={W: ""}), {}),
        (calm(2, beside_panel=HOME, witnesses={W: PANEL}), {"n1": "one_site"}),
        (calm(2, beside_panel=HOME, witnesses={W: ""}, no_agent={W}), {"n1": "unconfirmed"}),
        (calm(3, beside_panel=HOME), {}),
        (calm(2, min_nodes=2), {"n0": "min_nodes", "n1": "min_nodes"}),
        (calm(2, no_agent={NodeId("n1")}), {"n0": "unconfirmed"}),
        (calm(2, leaving={NodeId("n1")}), {"n0": "no_refuge"}),
        (
            calm(2, sites={NodeId("n0"): "site a", NodeId("n1"): PANEL}),
            {"n0": "one_site"},
        ),
    ],
)
def test_what_is_missing_is_named(network: Network, expected: dict[str, str]) -> None:
    assert foreseen(network) == expected


def test_nothing_happens_by_itself_while_automation_is_paused() -> None:
    assert foreseen(calm(3), paused=True) == dict.fromkeys(names(3), HoldReason.PAUSED)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.booleans(), st.data())
def test_a_node_goes_down_exactly_where_nothing_was_said_against_it(
    count: int, min_nodes: int, beside: bool, data: st.DataObject
) -> None:
    domains = st.sampled_from(["", "", PANEL, "site a"])
    network = calm(
        count,
        min_nodes=min_nodes,
        beside_panel=HOME if beside else frozenset(),
        sites={node: data.draw(domains) for node in names(count)},
        witnesses={witness: data.draw(domains) for witness in data.draw(st.sets(st.sampled_from([W, W2])))},
        no_agent=data.draw(st.sets(st.sampled_from([*names(count), W]), max_size=2)),
        leaving=data.draw(st.sets(st.sampled_from(names(count)), max_size=1)),
    )
    staying = [node for node in network.nodes if node not in network.leaving]
    assume(staying)
    target = data.draw(st.sampled_from(staying))
    said = foreseen(network)
    network.dead.add(target)
    network.run(3 * QUICK.fresh_s)
    state = network.standings[target].state
    assert (target in said) is (state is not Health.DOWN), (said, state)
    assert {*said} <= {node for node in network.nodes if node not in network.leaving}


def test_of_two_nodes_of_which_one_is_down_the_other_has_nobody() -> None:
    network = calm(2)
    network.dead.add(network.nodes[0])
    network.run(3)
    assert network.states() == [Health.DOWN, S]
    assert foreseen(network) == {network.nodes[1]: HoldReason.NO_REFUGE}
