"""Which node has a peer: claims, who wins, and news that get lost."""

import hashlib
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.agent.interfaces import whereabouts
from wgfleet.agent.interfaces.whereabouts import Whereabouts
from wgfleet.protocol.backbone import MAX_COUNT, MAX_DATAGRAM, Hello, Here, News, decode, encode


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def networks(number: int) -> tuple[str, ...]:
    return (f"10.8.{number >> 8}.{number & 255}/32",)


NETWORKS = {key(number): networks(number) for number in range(300)}


def of(number: int, epoch: int = 1) -> Whereabouts:
    return Whereabouts(number, epoch, NETWORKS.get)


def tell(teller: Whereabouts, hearers: Iterable[Whereabouts], now: float) -> None:
    for hearer in hearers:
        epoch, upto = hearer.heard_of(teller.number)
        for news in teller.news(upto if epoch == teller.epoch else 0, now, 1000):
            hearer.heard(teller.number, news, now)
        hearer.complete(teller.number, teller.epoch, teller.upto, now)


def place(where: Whereabouts, number: int) -> int | None:
    found = {claim.networks: claim.number for _, claim in where.claims()}
    return found.get(networks(number))


def test_a_peer_is_where_it_shook_hands_last() -> None:
    a, b, c = of(1), of(2), of(3)
    a.seen(key(7), 10.0, networks(7))
    tell(a, (b, c), 10.1)
    assert [place(each, 7) for each in (a, b, c)] == [1, 1, 1]
    c.seen(key(7), 10.2, networks(7), surely=True)  # a takeover, within the same second
    tell(c, (a, b), 10.21)
    assert [place(each, 7) for each in (a, b, c)] == [3, 3, 3]
    a.left(key(7))  # the old node drops it afterwards
    tell(a, (b, c), 10.3)
    assert [place(each, 7) for each in (a, b, c)] == [3, 3, 3]
    a.seen(key(7), 12.5, networks(7))  # and it comes back by itself
    tell(a, (b, c), 13.0)
    assert [place(each, 7) for each in (a, b, c)] == [1, 1, 1]
    a.left(key(7))
    tell(a, (b, c), 14.0)
    tell(c, (a, b), 14.1)
    assert [place(each, 7) for each in (a, b, c)] == [3, 3, 3], "c has an older session, which may still be good"


def test_a_scan_that_is_late_takes_nothing_back() -> None:
    a, b = of(1), of(2)
    b.seen(key(7), 103.0, networks(7), surely=True)
    tell(b, (a,), 103.0)
    a.seen(key(7), 100.0, networks(7))  # it was here before, and the scan sees it now
    assert place(a, 7) == 2


def test_an_agent_that_starts_again_has_its_peers_and_no_others() -> None:
    a, b = of(1), of(2)
    for number in (1, 2):
        b.seen(key(number), 5.0, networks(number))
    a.seen(key(3), 6.0, networks(3))
    tell(b, (a,), 6.0)
    tell(a, (b,), 6.0)
    a.seen(key(2), 9.0, networks(2))  # moved to a
    tell(a, (b,), 9.0)
    again = of(2, epoch=9)
    again.seen(key(1), 5.0, networks(1))
    again.seen(key(2), 5.0, networks(2))
    tell(a, (again,), 10.0)
    tell(again, (a,), 10.0)
    for each in (a, again):
        assert [place(each, number) for number in (1, 2, 3)] == [2, 1, 1]
    emptied = of(2, epoch=11)  # and once more, without a session
    tell(a, (emptied,), 11.0)
    tell(emptied, (a,), 11.0)
    assert [place(a, number) for number in (1, 2, 3)] == [None, 1, 1]


def test_what_was_lost_is_told_again_in_datagrams_that_fit() -> None:
    a, b = of(1), of(2)
    for number in range(300):
        a.seen(key(number), 5.0, networks(number))
    parts = a.news(0, 6.0, 1000)
    assert len(parts) > 3
    assert all(len(encode(part)) <= MAX_DATAGRAM for part in parts)
    assert not b.heard(1, parts[0], 6.0)
    assert b.heard(1, parts[2], 6.0), "one is missing"
    assert b.heard_of(1) == (1, parts[0].upto)
    assert a.news(parts[0].upto, 6.0, 2) == parts[1:3]
    tell(a, (b,), 6.0)
    assert {place(b, number) for number in range(300)} == {1}
    assert a.news(a.upto, 6.0, 10) == []


def test_a_peer_that_this_node_does_not_have_is_believed_as_far_as_is_allowed() -> None:
    strict = Whereabouts(2, 1, lambda _, claimed: tuple(each for each in claimed if each.startswith("10.8.")))
    a = of(1)
    a.seen(key(1), 5.0, ("10.8.0.9/32", "0.0.0.0/0"))
    a.seen(key(301), 5.0, ("192.0.2.0/24",))
    tell(a, (strict,), 5.0)
    assert [claim.networks for _, claim in strict.claims()] == [("10.8.0.9/32",)]


def test_a_node_that_leaves_takes_its_claims_along() -> None:
    a, b = of(1), of(2)
    a.seen(key(1), 5.0, networks(1))
    b.seen(key(1), 8.0, networks(1))
    tell(b, (a,), 8.0)
    a.forget(2)
    assert place(a, 1) == 1, "its own session is what is left"
    a.take_moved()
    a.forget(2)
    assert not a.take_moved()


def test_a_claim_beyond_all_counting_ends_no_agent() -> None:
    a = of(1)
    a.seen(key(1), 50.0, networks(1))
    greedy = News(1, 0, 1, (Here(key(1), MAX_COUNT, 1e6, networks(1)),))
    a.heard(2, greedy, 51.0)
    assert place(a, 1) == 2
    a.seen(key(1), 60.0, networks(1))
    assert place(a, 1) == 2, "of two counts that cannot be exceeded, the higher number stands"
    higher = of(3)
    higher.seen(key(1), 50.0, networks(1))
    higher.heard(2, greedy, 51.0)
    assert place(higher, 1) == 3
    a.forget(2)
    assert place(a, 1) == 1


@pytest.mark.parametrize("later_s", [0.5, 2.5])
def test_a_claim_that_its_node_took_to_the_grave_outdoes_no_node_that_has_not_heard_it(later_s: float) -> None:
    a, b, c = of(1), of(2), of(3)
    a.seen(key(7), 5.0, networks(7))
    tell(a, (b, c), 5.0)
    b.seen(key(7), 10.0, networks(7))
    tell(b, (a, c), 10.0)
    joined = of(1, epoch=2)  # it was removed and is back, and b dies before they have heard each other
    tell(c, (joined,), 10.1)
    joined.seen(key(7), 10.0 + later_s, networks(7), surely=True)
    tell(joined, (c,), 10.0 + later_s)
    assert place(c, 7) == (2 if later_s < 1 else 1), "a handshake of the same second may be the older one"
    c.reach({1})
    assert (place(c, 7), place(joined, 7)) == (1, 1)
    joined.seen(key(7), 20.0, networks(7))
    joined.reach({2, 3})  # b comes back
    c.reach({1, 2})
    tell(b, (joined, c), 21.0)
    tell(joined, (c, b), 21.0)
    assert [place(each, 7) for each in (joined, c, b)] == [1, 1, 1]


def test_a_node_that_says_all_the_time_that_it_has_started_again_is_heard_once_a_second() -> None:
    a, b = of(1), of(2)
    for number in range(3):
        b.seen(key(number), 5.0, networks(number))
    tell(b, (a,), 5.0)
    for epoch in range(100, 110):
        a.complete(2, epoch, 0, 5.0 + (epoch - 99) / 20)
    assert [place(a, number) for number in range(3)] == [2, 2, 2]
    tell(of(2, 200), (a,), 6.5)
    assert [place(a, number) for number in range(3)] == [None, None, None]


def test_a_node_that_claims_more_networks_than_there_can_be_is_believed_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whereabouts, "MOST_NETWORKS", 100)
    a = Whereabouts(1, 1, lambda _, claimed: claimed)

    def claim(upto: int, number: int) -> None:
        many = tuple(f"fd08::{number:x}:{each:x}/128" for each in range(60))
        a.heard(2, News(1, upto - 1, upto, (Here(key(number), upto, 0.0, many),)), 5.0)

    for upto, number in enumerate((1, 2, 1), 1):
        claim(upto, number)
    assert [found for found, _ in a.claims()] == [key(1)]
    a.heard(2, News(1, 3, 4, (), (key(1),)), 5.0)
    claim(5, 2)
    assert [found for found, _ in a.claims()] == [key(2)]


@given(st.binary(max_size=200))
def test_what_is_no_news_of_ours_is_nothing(data: bytes) -> None:
    assert decode(data) is None or isinstance(decode(data), News | Hello)


Step = tuple[int, int, bool, bool]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.booleans(), st.booleans()), max_size=60))
def test_nodes_that_have_heard_each_other_agree_whatever_happened_before(steps: list[Step]) -> None:
    """Peers go to and fro, nodes lose what they say, and agents start again."""
    nodes = [of(number) for number in (1, 2, 3)]
    now, epoch = 10.0, 10
    for node, number, loses, restarts in steps:
        now, epoch = now + 2.0, epoch + 1
        if restarts:
            nodes[node] = of(node + 1, epoch)
        nodes[node].seen(key(number), now, networks(number))
        if not loses:
            tell(nodes[node], [each for each in nodes if each is not nodes[node]], now)
    for _ in range(4):
        now += 1.0
        for node_ in nodes:
            tell(node_, [each for each in nodes if each is not node_], now)
    for number in range(5):
        assert len({place(each, number) for each in nodes}) == 1
    last = {number: node + 1 for node, number, *_ in steps}
    lost = any(restarts for *_, restarts in steps)
    if not lost:
        assert {number: place(nodes[0], number) for number in last} == last


def test_sixty_nodes_agree_while_peers_move_and_news_get_lost() -> None:
    nodes = {number: of(number) for number in range(1, 61)}
    chance = random.Random(7)  # noqa: S311 - the same peers each time
    for turn in range(6):
        for number in chance.sample(range(300), 40):
            nodes[chance.randint(1, 60)].seen(key(number), turn + number / 1000, networks(number), surely=True)
        for node in nodes.values():
            others = [each for each in nodes.values() if each is not node]
            tell(node, chance.sample(others, 40), turn + 0.9)
    for node in nodes.values():  # the next hello of each says what it has missed
        tell(node, (each for each in nodes.values() if each is not node), 7.0)
    told = {tuple(place(node, number) for number in range(300)) for node in nodes.values()}
    assert len(told) == 1
    assert sum(each is not None for each in told.pop()) > 100
