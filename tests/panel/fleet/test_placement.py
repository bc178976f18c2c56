"""Homes of peers: what holds for any nodes and any peers."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.placement.place import Candidate, Placement, Strategy, Unplaced, place, spread
from wgfleet.protocol.ids import NodeGroupId, NodeId, PeerId

GROUPS = [None, NodeGroupId("east"), NodeGroupId("north"), NodeGroupId("west")]
PRIORITY = {None: 30, "east": 10, "north": 10, "west": 20}


def node(
    name: str,
    group: str | None = None,
    *,
    weight: float = 1,
    capacity: int | None = None,
    load: int = 0,
) -> Candidate:
    group_id = None if group is None else NodeGroupId(group)
    return Candidate(NodeId(name), group_id, PRIORITY[group], weight, capacity, load)


def peers(count: int, group: str | None = None, start: int = 0) -> list[Unplaced]:
    group_id = None if group is None else NodeGroupId(group)
    return [Unplaced(PeerId(f"p{number:05}"), group_id) for number in range(start, start + count)]


def counts(placement: Placement) -> dict[NodeId, int]:
    return dict(Counter(placement.homes.values()))


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Candidate, ...]:
    groups = draw(st.lists(st.sampled_from(GROUPS), max_size=8))
    return tuple(
        Candidate(
            NodeId(f"n{number}"),
            group,
            PRIORITY[group],
            draw(st.sampled_from([0, 0.5, 1, 1, 3])),
            draw(st.none() | st.integers(0, 20)),
            draw(st.integers(0, 25)),
            draw(st.booleans()),
            draw(st.sampled_from(["", "eu", "us"])),
            draw(st.none() | st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        )
        for number, group in enumerate(groups)
    )


def in_use(fleet: tuple[Candidate, ...]) -> list[Candidate]:
    """Return those that get peers at all: no cordoned ones while there are others."""
    able = [candidate for candidate in fleet if candidate.weight > 0 and candidate.capacity != 0]
    return [candidate for candidate in able if not candidate.cordoned] or able


REGION = {None: "", "east": "eu", "north": "", "west": "us"}
crowds = st.lists(st.sampled_from(GROUPS), max_size=60).map(
    lambda groups: [Unplaced(PeerId(f"p{number}"), group, REGION[group]) for number, group in enumerate(groups)]
)
strategies = st.sampled_from(Strategy)


@given(crowds, fleets(), st.booleans(), strategies)
def test_each_peer_is_placed_once_or_left(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...], overflow: bool, strategy: Strategy
) -> None:
    placement = place(crowd, fleet, overflow=overflow, strategy=strategy)
    assert sorted([*placement.homes, *placement.left]) == sorted(peer.peer_id for peer in crowd)
    order = [peer.peer_id for peer in crowd]
    assert list(placement.left) == sorted(placement.left, key=order.index)


@given(crowds, fleets(), strategies)
def test_no_node_gets_more_than_it_has_room_for(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...], strategy: Strategy
) -> None:
    got = counts(place(crowd, fleet, strategy=strategy))
    for candidate in fleet:
        mine = got.get(candidate.node_id, 0)
        if candidate.weight == 0:
            assert mine == 0
        elif candidate.capacity is not None:
            assert mine <= max(0, candidate.capacity - candidate.load)


@given(crowds, fleets(), strategies)
def test_peers_are_left_only_when_every_node_is_full(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...], strategy: Strategy
) -> None:
    placement = place(crowd, fleet, strategy=strategy)
    if placement.left:
        got = counts(placement)
        for candidate in in_use(fleet):
            full = candidate.capacity is not None and (
                candidate.load + got.get(candidate.node_id, 0) >= candidate.capacity
            )
            assert full or candidate.weight == 0


@given(crowds, fleets(), strategies)
def test_with_overflow_nobody_is_left_while_a_node_takes_peers(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...], strategy: Strategy
) -> None:
    placement = place(crowd, fleet, overflow=True, strategy=strategy)
    if any(candidate.weight > 0 and candidate.capacity != 0 for candidate in fleet):
        assert placement.left == ()


@given(crowds, fleets())
def test_overflow_begins_only_behind_what_fits(crowd: list[Unplaced], fleet: tuple[Candidate, ...]) -> None:
    plain, over = place(crowd, fleet), place(crowd, fleet, overflow=True)
    assert over.homes.items() >= plain.homes.items()


@given(crowds, fleets(), strategies)
def test_a_peer_is_outside_its_group_only_if_the_group_is_full_of_its_own(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...], strategy: Strategy
) -> None:
    placement = place(crowd, fleet, strategy=strategy)
    nodes = {candidate.node_id: candidate for candidate in fleet}
    wish = {peer.peer_id: peer.group_id for peer in crowd}
    own = Counter(node_id for peer_id, node_id in placement.homes.items() if nodes[node_id].group_id == wish[peer_id])
    for peer_id, group_id in wish.items():
        if group_id is None or (peer_id in placement.homes and nodes[placement.homes[peer_id]].group_id == group_id):
            continue
        for candidate in in_use(fleet):
            if candidate.group_id == group_id and candidate.weight > 0:
                assert candidate.capacity is not None
                assert candidate.load + own[candidate.node_id] >= candidate.capacity


@given(st.integers(0, 300), st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_equal_nodes_end_within_one_of_the_best_balance(count: int, loads: list[int]) -> None:
    fleet = [node(f"n{number}", load=load) for number, load in enumerate(loads)]
    got = counts(place(peers(count), fleet))
    ends = {candidate.node_id: candidate.load + got.get(candidate.node_id, 0) for candidate in fleet}
    # Whoever got a peer is at most one above whoever could have had it.
    assert all(ends[node_id] - 1 <= min(ends.values()) for node_id in got)


@given(st.integers(1, 2000), st.lists(st.sampled_from([1, 2, 3, 5]), min_size=1, max_size=6))
def test_shares_follow_the_weights_within_rounding(count: int, weights: list[int]) -> None:
    fleet = [node(f"n{number}", weight=weight) for number, weight in enumerate(weights)]
    got = counts(place(peers(count), fleet))
    for candidate in fleet:
        share = count * candidate.weight / sum(weights)
        # D'Hondt's method: never less than the share rounded down, and never more than this above it.
        assert got.get(candidate.node_id, 0) >= int(share)
        assert got.get(candidate.node_id, 0) <= share + candidate.weight * (len(fleet) - 1) / sum(weights) + 1e-9


@given(crowds, fleets(), strategies, st.data())
def test_the_order_of_the_nodes_does_not_matter(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...], strategy: Strategy, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(fleet))
    found = place(crowd, fleet, overflow=True, strategy=strategy)
    assert place(crowd, shuffled, overflow=True, strategy=strategy) == found


def test_groups_are_filled_by_priority() -> None:
    fleet = [node("loner"), node("west", "west", capacity=2), node("east", "east", capacity=2)]
    homes = place(peers(5), fleet).homes
    assert list(homes.values()) == ["east", "east", "west", "west", "loner"]


def test_groups_of_equal_priority_share() -> None:
    fleet = [node("e", "east"), node("n", "north")]
    assert counts(place(peers(10), fleet)) == {"e": 5, "n": 5}


def test_peers_go_to_their_own_group_before_others_take_its_room() -> None:
    fleet = [node("east", "east", capacity=2), node("loner")]
    placement = place([*peers(3), *peers(2, "east", start=3)], fleet)
    assert [placement.homes[peer.peer_id] for peer in peers(5)] == ["loner", "loner", "loner", "east", "east"]


def test_peers_of_a_group_without_nodes_go_where_the_others_go() -> None:
    assert counts(place(peers(4, "west"), [node("east", "east")])) == {"east": 4}


def test_overflow_is_in_proportion_to_capacity() -> None:
    fleet = [node("small", capacity=10, load=10), node("large", capacity=90, load=90)]
    assert counts(place(peers(100), fleet, overflow=True)) == {"small": 10, "large": 90}


@pytest.mark.parametrize("overflow", [False, True])
@pytest.mark.parametrize("closed", [node("n", weight=0), node("n", capacity=0)])
def test_a_node_without_weight_or_capacity_gets_none(closed: Candidate, overflow: bool) -> None:
    placement = place(peers(2), [closed], overflow=overflow)
    assert placement == Placement({}, (PeerId("p00000"), PeerId("p00001")))


def test_no_peers_and_no_nodes_are_fine() -> None:
    assert place([], [node("n")]) == Placement({}, ())
    assert place(peers(1), []) == Placement({}, (PeerId("p00000"),))


def test_a_cordoned_node_gets_peers_only_where_there_is_no_other() -> None:
    cordoned = replace(node("a"), cordoned=True)
    assert counts(place(peers(4), [cordoned, node("b")])) == {"b": 4}
    assert counts(place(peers(4), [cordoned, node("b", capacity=0)])) == {"a": 4}
    assert place(peers(2), [cordoned, node("b", capacity=1)]).left == ("p00001",), "full is not gone"


@given(crowds, fleets(), st.sampled_from([Strategy.LEAST_PEERS, Strategy.NEAREST_GROUP]), st.randoms())
def test_spreading_ends_where_placing_anew_would_with_the_fewest_moves(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...], strategy: Strategy, random: Random
) -> None:
    names = [candidate.node_id for candidate in fleet] + [NodeId("gone")]
    homes = {peer.peer_id: random.choice(names) for peer in crowd if random.random() < 0.9}
    moved = spread(crowd, homes, fleet, strategy)
    anew = place(crowd, fleet, overflow=True, strategy=strategy).homes
    after = homes | moved
    groups = {peer.peer_id: peer.group_id for peer in crowd}
    wanted = Counter((groups[peer], home) for peer, home in anew.items())
    assert Counter((groups[peer], after[peer]) for peer in anew) == wanted
    before = Counter((groups[peer], homes.get(peer)) for peer in anew)
    assert len(moved) == sum(max(0, count - before[place]) for place, count in wanted.items())
    assert spread(crowd, after, fleet, strategy) == {}


@given(
    st.integers(1, 400),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 100), st.sampled_from([1, 2, 5])), min_size=1, max_size=6),
)
def test_the_least_busy_node_does_not_get_a_whole_batch(count: int, machines: list[tuple[float, int, int]]) -> None:
    fleet = [
        replace(node(f"n{number}", load=load, weight=weight), busy=busy)
        for number, (busy, load, weight) in enumerate(machines)
    ]
    got = counts(place(peers(count), fleet, strategy=Strategy.LEAST_LOAD))
    each = max(0.001, sum(n.weight * (n.busy or 0) for n in fleet) / max(1, sum(n.load for n in fleet)))

    def busy_with(candidate: Candidate, more: int) -> float:
        return (candidate.busy or 0) + each * (got.get(candidate.node_id, 0) + more) / candidate.weight

    # Nobody who got a peer would be busier without the last of them than another with one more.
    for candidate in fleet:
        if candidate.node_id in got:
            assert all(busy_with(candidate, 0) <= busy_with(other, 1) + 1e-9 for other in fleet)


def test_the_less_busy_node_gets_more_until_it_is_as_busy() -> None:
    fleet = [replace(node("busy", load=50), busy=0.6), replace(node("idle", load=50), busy=0.4)]
    got = counts(place(peers(40), fleet, strategy=Strategy.LEAST_LOAD))
    assert got == {"idle": 30, "busy": 10}
    assert counts(place(peers(40), fleet)) == {"idle": 20, "busy": 20}


def test_where_no_node_says_how_busy_it_is_peers_are_counted() -> None:
    fleet = [node("a", load=3), node("b")]
    for crowd in (peers(1), peers(9)):
        assert place(crowd, fleet, strategy=Strategy.LEAST_LOAD) == place(crowd, fleet)


def test_a_node_that_does_not_say_how_busy_it_is_counts_as_the_average() -> None:
    fleet = [replace(node("a"), busy=0.2), node("b"), replace(node("c"), busy=0.8)]
    first = [place(peers(1), [n for n in fleet if n.node_id != gone], strategy=Strategy.LEAST_LOAD) for gone in "ac"]
    assert [counts(placement) for placement in first] == [{"b": 1}, {"a": 1}]


def test_the_nearest_group_is_the_own_then_those_of_its_region_then_by_priority() -> None:
    fleet = [
        replace(node("own", "west", capacity=1), region="us"),
        replace(node("near", "north", capacity=2), region="us"),
        replace(node("far", "east"), region="eu"),
    ]
    crowd = [Unplaced(PeerId(f"p{number}"), NodeGroupId("west"), "us") for number in range(5)]
    near = place(crowd, fleet, strategy=Strategy.NEAREST_GROUP)
    assert list(near.homes.values()) == ["own", "near", "near", "far", "far"]
    stranger = [Unplaced(PeerId("p0"), NodeGroupId("gone"), "us")]
    assert list(place(stranger, fleet, strategy=Strategy.NEAREST_GROUP).homes.values()) == ["near"]
    assert list(place(stranger, fleet).homes.values()) == ["far"]


def test_peers_that_may_use_some_nodes_only_get_homes_among_these() -> None:
    nodes = [node("a"), node("b"), replace(node("c"), group_id=NodeGroupId("eu"))]
    only = [
        Unplaced(PeerId("p1"), None, usable=frozenset({"a"})),
        Unplaced(PeerId("p2"), None),
        Unplaced(PeerId("p3"), None, usable=frozenset({"eu"})),
        Unplaced(PeerId("p4"), None, usable=frozenset({"gone"})),
        Unplaced(PeerId("p5"), None, usable=frozenset({"a"})),
    ]
    found = place(only, nodes)
    assert found.homes == {"p1": "a", "p5": "a", "p3": "c", "p2": "b"}
    assert found.left == ("p4",)
    assert spread(only, found.homes, nodes) == {}
    assert spread(only, {PeerId("p1"): NodeId("b")}, nodes)[PeerId("p1")] == "a"
