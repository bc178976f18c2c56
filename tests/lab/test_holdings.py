"""What is made of samples of who has an address."""

from wgfleet.lab.holdings import Sample, broken, longest_s, summary

FOUR = "198.18.16.4"


def sample(at: float, held: str = "", answered: str = "") -> Sample:
    return Sample(at, FOUR, frozenset(held.split()), frozenset(answered.split()))


def test_the_longest_time_begins_with_the_last_look_before_it() -> None:
    seen = [sample(at) for at in (0.0, 0.02, 0.04, 0.06, 0.08)]
    assert longest_s(seen, [False, True, False, True, True]) == 0.04
    assert longest_s(seen, [False] * 5) == 0.0
    assert longest_s([], []) == 0.0


def test_two_that_answer_are_counted_and_break_the_promise() -> None:
    seen = [
        sample(10.0, "a", "a"),
        sample(10.02, "a b", "a b"),
        sample(10.04, "b", "b"),
        sample(10.06, "b"),
    ]
    figures = {**summary([seen], "a", 10.0, 12.0), "held_wrong": []}
    assert figures["answered_twice"] == 1
    assert (figures["left_s"], figures["taken_s"]) == (0.04, 0.02)
    assert (figures["held_twice_ms"], figures["unanswered_s"]) == (20, 0.02)
    assert len(broken(figures, unseen=False)) == 2
    assert len(broken(figures, unseen=True)) == 1


def test_an_address_that_stays_breaks_nothing() -> None:
    figures = {**summary([[sample(1.0, "a", "a"), sample(1.02, "a", "a")]], "a", 1.0, 2.0), "held_wrong": []}
    assert (figures["left_s"], figures["taken_s"]) == (None, None)
    assert broken(figures, unseen=False) == []
    assert broken({**figures, "held_wrong": ["it is held by nobody"]}, unseen=True) == ["it is held by nobody"]
