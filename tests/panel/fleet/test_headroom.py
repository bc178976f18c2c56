"""What if a node dies."""

from dataclasses import replace

from wgfleet.panel.domain.placement.capacity import Share, headroom, loss
from wgfleet.panel.domain.placement.place import Candidate, Unplaced
from wgfleet.protocol.ids import ConfigId, NodeId, PeerId


def node(name: str, *, capacity: int | None = None, load: int = 0, cordoned: bool = False) -> Candidate:
    return Candidate(NodeId(name), None, 0, 1.0, capacity, load, cordoned)


def share(config: str, count: int, *others: Candidate) -> Share:
    return Share(ConfigId(config), [Unplaced(PeerId(f"{config}-{i}"), None) for i in range(count)], others)


def test_the_others_share_the_peers_of_a_dead_node() -> None:
    found = loss([share("wg0", 4, node("b", load=10), node("c", load=10))])
    assert found.gained == {"b": 2, "c": 2}
    assert found.holds


def test_what_is_above_capacity_is_said() -> None:
    found = loss([share("wg0", 5, node("b", capacity=2, load=1), node("c", capacity=2, load=2))])
    assert sum(found.gained.values()) == 5
    assert sum(found.overloaded.values()) == 4
    assert not found.holds


def test_all_configs_of_a_dead_node_fall_on_the_same_others() -> None:
    other = node("b", capacity=3)
    found = loss([share("wg0", 2, other), share("wg1", 2, other)])
    assert found.gained == {"b": 4}
    assert found.overloaded == {"b": 1}


def test_without_another_node_peers_are_homeless() -> None:
    found = loss([share("wg0", 3), share("wg1", 1, node("b"))])
    assert found.homeless == {"wg0": 3}
    assert not found.holds


def test_headroom_ends_at_nothing() -> None:
    assert [headroom(node("a", capacity=c, load=5)) for c in (None, 8, 3)] == [None, 3, 0]


def test_a_node_that_would_need_more_than_its_machine_has_is_said() -> None:
    dead = replace(node("a", load=40), busy=0.8)
    half, idle = replace(node("b", load=40), busy=0.7), replace(node("c", load=40), busy=0.1)
    found = loss([share("wg0", 40, half, idle)], dead)
    assert found.gained == {"b": 20, "c": 20}
    assert {node_id: round(needed, 3) for node_id, needed in found.overworked.items()} == {"b": 1.1}
    assert not found.holds
    assert loss([share("wg0", 40, replace(half, busy=None), idle)], dead).holds, "who says nothing is not judged"


def test_what_a_machine_with_two_peers_does_is_not_theirs() -> None:
    dead, other = replace(node("a", load=2), busy=0.6), replace(node("b"), busy=0.5)
    assert loss([share("wg0", 2, other)], dead).holds
