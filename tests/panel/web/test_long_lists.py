"""Long lists: those that need a look are among what is shown, and all are shown where they fit or are asked for."""

from wgfleet.panel.web.long_lists import SHOWN, worst_first

MANY = list(range(SHOWN * 4))


def test_what_fits_is_shown_in_its_order() -> None:
    assert worst_first(MANY[:SHOWN], lambda each: each > 3, "") == MANY[:SHOWN]
    assert worst_first(MANY, lambda each: each > 3, "yes") == MANY


def test_of_more_those_with_a_trouble_are_first() -> None:
    shown = worst_first(MANY, lambda each: each in {70, 90}, "")
    assert shown == [70, 90, *MANY[: SHOWN - 2]]
