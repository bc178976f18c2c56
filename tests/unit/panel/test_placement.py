"""Homes of peers: what holds for any nodes and any peers."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.placement import Candidate, Placement, Unplaced, place, spread
from wgfleet.protocol.ids import NodeGroupId, NodeId, PeerId

GROUPS = [None, NodeGroupId("east"), NodeGroupId("north"), NodeGroupId("west")]
PRIORITY = {None: 0, "east": 10, "north": 10, "west": 20}


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
        )
        for number, group in enumerate(groups)
    )


crowds = st.lists(st.sampled_from(GROUPS), max_size=60).map(
    lambda groups: [Unplaced(PeerId(f"p{number}"), group) for number, group in enumerate(groups)]
)


@given(crowds, fleets(), st.booleans())
def test_each_peer_is_placed_once_or_left(crowd: list[Unplaced], fleet: tuple[Candidate, ...], overflow: bool) -> None:
    placement = place(crowd, fleet, overflow=overflow)
    assert sorted([*placement.homes, *placement.left]) == sorted(peer.peer_id for peer in crowd)
    order = [peer.peer_id for peer in crowd]
    assert list(placement.left) == sorted(placement.left, key=order.index)


@given(crowds, fleets())
def test_no_node_gets_more_than_it_has_room_for(crowd: list[Unplaced], fleet: tuple[Candidate, ...]) -> None:
    got = counts(place(crowd, fleet))
    for candidate in fleet:
        mine = got.get(candidate.node_id, 0)
        if candidate.weight == 0:
            assert mine == 0
        elif candidate.capacity is not None:
            assert mine <= max(0, candidate.capacity - candidate.load)


@given(crowds, fleets())
def test_peers_are_left_only_when_every_node_is_full(crowd: list[Unplaced], fleet: tuple[Candidate, ...]) -> None:
    placement = place(crowd, fleet)
    if placement.left:
        got = counts(placement)
        for candidate in fleet:
            full = candidate.capacity is not None and (
                candidate.load + got.get(candidate.node_id, 0) >= candidate.capacity
            )
            assert full or candidate.weight == 0


@given(crowds, fleets())
def test_with_overflow_nobody_is_left_while_a_node_takes_peers(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...]
) -> None:
    placement = place(crowd, fleet, overflow=True)
    if any(candidate.weight > 0 and candidate.capacity != 0 for candidate in fleet):
        assert placement.left == ()


@given(crowds, fleets())
def test_overflow_begins_only_behind_what_fits(crowd: list[Unplaced], fleet: tuple[Candidate, ...]) -> None:
    plain, over = place(crowd, fleet), place(crowd, fleet, overflow=True)
    assert over.homes.items() >= plain.homes.items()


@given(crowds, fleets())
def test_a_peer_is_outside_its_group_only_if_the_group_is_full_of_its_own(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...]
) -> None:
    placement = place(crowd, fleet)
    nodes = {candidate.node_id: candidate for candidate in fleet}
    wish = {peer.peer_id: peer.group_id for peer in crowd}
    own = Counter(node_id for peer_id, node_id in placement.homes.items() if nodes[node_id].group_id == wish[peer_id])
    for peer_id, group_id in wish.items():
        if group_id is None or (peer_id in placement.homes and nodes[placement.homes[peer_id]].group_id == group_id):
            continue
        for candidate in fleet:
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


@given(crowds, fleets(), st.data())
def test_the_order_of_the_nodes_does_not_matter(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(fleet))
    assert place(crowd, shuffled, overflow=True) == place(crowd, fleet, overflow=True)


def test_groups_are_filled_by_priority_and_nodes_without_a_group_come_last() -> None:
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


@given(crowds, fleets(), st.randoms(use_true_random=False))
def test_spreading_ends_where_placing_anew_would_with_the_fewest_moves(
    crowd: list[Unplaced], fleet: tuple[Candidate, ...], random: Random
) -> None:
    names = [candidate.node_id for candidate in fleet] + [NodeId("gone")]
    homes = {peer.peer_id: random.choice(names) for peer in crowd if random.random() < 0.9}
    moved = spread(crowd, homes, fleet)
    anew = place(crowd, fleet, overflow=True).homes
    after = homes | moved
    groups = {peer.peer_id: peer.group_id for peer in crowd}
    wanted = Counter((groups[peer], home) for peer, home in anew.items())
    assert Counter((groups[peer], after[peer]) for peer in anew) == wanted
    before = Counter((groups[peer], homes.get(peer)) for peer in anew)
    assert len(moved) == sum(max(0, count - before[place]) for place, count in wanted.items())
    assert spread(crowd, after, fleet) == {}
