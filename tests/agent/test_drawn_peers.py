"""Peers are drawn to the node that calls them for a moment only, and news are repeated to nobody without end."""

import math

from wgfleet.agent.interfaces.drawn_peers import SPARED_S, WAIT_S, DrawnPeers
from wgfleet.agent.interfaces.news_repeats import NewsRepeats
from wgfleet.agent.interfaces.whereabouts import Whereabouts
from wgfleet.protocol.backbone import Here, News

ANNA, BERT = b"a" * 32, b"b" * 32
BURST = 960  # entries of 64 messages
ALL = 200_000


def test_a_peer_that_does_not_answer_is_given_back_and_left_alone_for_a_while() -> None:
    drawn, where = DrawnPeers(), Whereabouts(1, 1, lambda _, networks: networks)
    assert not drawn.may(where, ANNA, 10.0), "no node has it"
    where.heard(2, News(1, 0, 1, tuple(Here(key, 1, 0.0, (f"10.8.0.{key[0]}/32",)) for key in (ANNA, BERT))), 9.0)
    for key in (ANNA, BERT):
        assert drawn.may(where, key, 10.0)
        drawn.draw(key, (f"10.8.0.{key[0]}/32",), 10.0)
    assert drawn.give_back([ANNA, BERT], 10.0 + WAIT_S / 2, at_once=False) == []
    assert drawn.without(["10.8.0.97/32", "10.8.0.98/32", "10.8.0.9/32"]) == ["10.8.0.9/32"]
    assert drawn.answered(ANNA)
    assert not drawn.answered(ANNA)
    assert drawn.without(["10.8.0.97/32", "10.8.0.98/32"]) == ["10.8.0.97/32"]
    assert drawn.give_back([ANNA, BERT], 10.0 + WAIT_S, at_once=False) == [BERT]
    assert drawn.give_back([ANNA, BERT], 10.0 + WAIT_S, at_once=True) == []
    assert (drawn.may(where, ANNA, 11.0), drawn.may(where, BERT, 11.0)) == (True, False)
    assert drawn.may(where, BERT, 11.0 + SPARED_S)


def sent(heard_after: list[int] | None, loss: float, asks: int) -> tuple[int, int]:
    """Return how many entries a node was sent that asks 40 times a second, and how far it got.

    `heard_after`: what it says, in turns; None: the truth, of messages of which a part gets lost.
    """
    repeats, heard, total = NewsRepeats(), 0, 0
    for ask in range(asks):
        said = heard if heard_after is None else heard_after[ask % len(heard_after)]
        if heard < ALL and repeats.may(said, 1, ask / 40):
            entries = min(BURST, ALL - said)
            repeats.sent(entries, ask / 40)
            total += entries
            heard += math.ceil(entries * (1 - loss))
    return total, heard


def test_a_node_that_always_asks_for_all_gets_little_and_one_that_hears_it_gets_all() -> None:
    seconds = 20
    for lies in ([0], [0, 1], [0, ALL, 0]):
        total, _ = sent(lies, 0.0, 40 * seconds)
        assert BURST <= total <= (seconds + 4) * 1000, lies
    for loss in (0.0, 0.5, 0.7):
        assert sent(None, loss, 40 * seconds)[1] >= ALL, loss


def test_a_new_count_of_ours_is_heard_from_its_beginning() -> None:
    repeats = NewsRepeats()
    assert repeats.may(500, 1, 0.0)
    repeats.sent(1900, 0.0)
    assert not repeats.may(500, 1, 0.01)
    assert repeats.may(400, 2, 0.03), "what was heard of it is news"
