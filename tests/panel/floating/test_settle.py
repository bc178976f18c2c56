"""Who holds a floating address: what must be true whatever the nodes and addresses."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.floating import HolderCandidate, choose_holders, spread
from wgfleet.protocol.ids import NodeId

NODES = [NodeId(name) for name in "abcdef"]


def place(
    name: str, *, fit: bool = True, preferred: bool = True, emptied: bool = False, weight: float = 1.0
) -> HolderCandidate:
    return HolderCandidate(NodeId(name), weight, fit, fit and preferred, emptied)


@st.composite
def places(draw: st.DrawFn) -> list[HolderCandidate]:
    names = draw(st.lists(st.sampled_from(NODES), unique=True))
    return [
        place(
            name,
            fit=draw(st.booleans()),
            preferred=draw(st.booleans()),
            emptied=draw(st.booleans()),
            weight=draw(st.sampled_from([0.5, 1.0, 2.0, 3.0])),
        )
        for name in names
    ]


presents = st.dictionaries(
    st.integers(1, 40).map(lambda number: f"203.0.113.{number}"), st.none() | st.sampled_from(NODES), max_size=12
)


@given(presents, places())
def test_every_address_has_one_holder_and_it_is_fit_where_any_node_is(
    present: dict[str, NodeId | None], nodes: list[HolderCandidate]
) -> None:
    fit = {node.node_id for node in nodes if node.fit}
    for decide in (choose_holders, spread):
        holders = decide(present, nodes)
        assert holders.keys() == present.keys()
        if fit:
            assert set(holders.values()) <= fit
        else:
            assert set(holders.values()) <= {None, *(node.node_id for node in nodes)}


@given(presents, places())
def test_asked_again_nothing_changes(present: dict[str, NodeId | None], nodes: list[HolderCandidate]) -> None:
    for decide in (choose_holders, spread):
        holders = decide(present, nodes)
        assert decide(holders, nodes) == holders


@given(presents, places())
def test_what_a_fit_node_holds_it_keeps_unless_it_is_emptied(
    present: dict[str, NodeId | None], nodes: list[HolderCandidate]
) -> None:
    keepers = {node.node_id for node in nodes if node.fit and not node.emptied}
    holders = choose_holders(present, nodes)
    assert all(holders[address] == has for address, has in present.items() if has in keepers)


@given(presents, places())
def test_a_node_that_is_emptied_keeps_nothing_that_another_can_have(
    present: dict[str, NodeId | None], nodes: list[HolderCandidate]
) -> None:
    emptied = {node.node_id for node in nodes if node.emptied}
    if any(node.fit and not node.emptied for node in nodes):
        assert not emptied & set(choose_holders(present, nodes).values())


@given(presents, places())
def test_addresses_without_a_holder_go_to_preferred_nodes_where_there_are_any(
    present: dict[str, NodeId | None], nodes: list[HolderCandidate]
) -> None:
    best = {node.node_id for node in nodes if node.preferred and not node.emptied}
    holders = choose_holders(present, nodes)
    if best:
        assert {holders[address] for address, has in present.items() if has != holders[address]} <= best


@given(st.integers(0, 12), st.dictionaries(st.sampled_from(NODES), st.sampled_from([1.0, 2.0, 3.0]), min_size=1))
def test_many_addresses_are_spread_by_weight(count: int, weights: dict[NodeId, float]) -> None:
    nodes = [place(name, weight=weight) for name, weight in weights.items()]
    for decide in (choose_holders, spread):
        held = Counter(decide({f"203.0.113.{i}": None for i in range(count)}, nodes).values())
        share = count / sum(weights.values())
        assert all(abs(held[name] - share * weight) < 1 + weight for name, weight in weights.items())


def test_a_node_that_joins_gets_nothing_before_a_rebalance() -> None:
    present: dict[str, NodeId | None] = {"203.0.113.1": NodeId("a"), "203.0.113.2": NodeId("a")}
    nodes = [place("a"), place("b")]
    assert choose_holders(present, nodes) == present
    assert sorted(map(str, spread(present, nodes).values())) == ["a", "b"]


def test_a_rebalance_moves_as_few_as_it_takes() -> None:
    present: dict[str, NodeId | None] = {f"203.0.113.{i}": NodeId("a") for i in range(4)}
    holders = spread(present, [place("a"), place("b")])
    assert sum(holders[address] != has for address, has in present.items()) == 2


@given(st.permutations([f"203.0.113.{i}" for i in range(5)]), st.sampled_from(NODES))
def test_a_rebalance_of_what_is_even_moves_nothing(addresses: list[str], first: NodeId) -> None:
    order = [first, *(name for name in NODES if name != first)]
    present: dict[str, NodeId | None] = dict(zip(addresses, order, strict=False))
    assert spread(present, [place(name) for name in NODES]) == present


def test_where_no_node_is_fit_the_address_stays_with_the_one_that_had_it() -> None:
    nodes = [place("a", fit=False), place("b", fit=False)]
    assert choose_holders({"203.0.113.1": NodeId("a"), "203.0.113.2": NodeId("gone")}, nodes) == {
        "203.0.113.1": "a",
        "203.0.113.2": None,
    }
