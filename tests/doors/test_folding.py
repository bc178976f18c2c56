"""Reports in folds: the first at once, the rest as a count, and few however many there are."""

from wgfleet.doors.folding import Folding


def test_the_first_of_a_window_is_told_and_the_others_are_counted() -> None:
    folding = Folding("others", window_s=60)
    assert [folding.note("a", now) for now in (0, 1, 59)] == ["a", None, None]
    assert folding.ended(59) == []
    assert folding.next_end == 60
    assert folding.ended(60) == [("a", 2)]
    assert folding.next_end is None
    assert folding.note("a", 61) == "a"
    assert folding.ended(121) == []  # one was told, and there were no others


def test_beyond_a_number_of_keys_all_others_are_one() -> None:
    folding = Folding("others", capacity=3)
    told = [folding.note(f"key {number}", 0) for number in range(1000)]
    assert [key for key in told if key] == ["key 0", "key 1", "key 2", "others"]
    assert folding.note("key 1", 1) is None
    assert folding.ended(60) == [("key 1", 1), ("others", 996)]
