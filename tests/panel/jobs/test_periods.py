"""Periods and windows of jobs: midnight by a time zone, changes of clocks, months of any length."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.jobs.job import Period
from wgfleet.panel.domain.jobs.periods import began, began_from, checked_window, is_within
from wgfleet.panel.domain.jobs.periods import zone as zone_of
from wgfleet.panel.errors import Invalid

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("UTC", "Europe/Berlin", "Asia/Tehran", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe")
moments = st.floats(min_value=1.5e9, max_value=2.5e9)


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    "name", ["localtime", "posixrules", "Factory", "right/Europe/Berlin", "posix/UTC", "Europe", "", "zone.tab", "/UTC"]
)
def test_what_is_no_place_or_means_another_one_elsewhere_is_no_time_zone(name: str) -> None:
    with pytest.raises(Invalid, match="no time zone"):
        zone_of(name)


@given(moments, st.sampled_from(ZONES), st.sampled_from(Period))
def test_a_period_begins_at_a_midnight_that_is_past_and_once(now: float, name: str, period: Period) -> None:
    zone = ZoneInfo(name)
    start = began(period, zone, now)
    local = datetime.fromtimestamp(start, zone)
    assert start <= now
    assert now - start <= {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}[period] * 86400 + 3600
    assert (local.minute, local.second) == (0, 0)
    assert local.hour in {0, 1}  # some zones change their clocks at midnight, so that there is no 0 o'clock
    assert began(period, zone, start) == start
    assert period is not Period.MONTH or local.day == 1
    assert period is not Period.WEEK or local.weekday() == 0


@given(moments, st.floats(min_value=0, max_value=5e8), st.sampled_from(ZONES), st.sampled_from(Period))
def test_periods_from_the_first_use_follow_each_other(first: float, later: float, name: str, period: Period) -> None:
    zone, now = ZoneInfo(name), first + later
    start = began_from(first, period, zone, now)
    assert first - 1e-3 <= start <= now + 1e-3
    assert now - start <= {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}[period] * 86400 + 7200
    assert began_from(first, period, zone, first - 1) == first  # a clock that was set back: nothing is before the first


def test_days_have_23_and_25_hours_where_clocks_change() -> None:
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25)):
        start = at(f"{day}T00:00")
        assert began(Period.DAY, BERLIN, start + hours * 3600 - 1) == start
        assert began(Period.DAY, BERLIN, start + hours * 3600) == start + hours * 3600


def test_a_month_from_the_31st_ends_with_shorter_months() -> None:
    first = at("2026-01-31T12:00")
    starts = ["2026-02-28T12:00", "2026-03-31T12:00", "2026-04-30T12:00"]
    for text in starts:
        assert began_from(first, Period.MONTH, BERLIN, at(text)) == at(text)
        assert began_from(first, Period.MONTH, BERLIN, at(text) - 1) < at(text)


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-11-27T07:59", False),
        ("2026-11-27T08:00", True),
        ("2026-11-27T17:59", True),
        ("2026-11-27T18:00", False),
        ("2026-11-28T12:00", False),
        ("2026-11-28T22:00", True),  # Saturday
        ("2026-11-29T05:59", True),  # the same night
        ("2026-11-29T06:00", False),
        ("2026-11-29T23:00", False),
        ("2026-10-25T02:30", True),  # which comes twice
    ],
)
def test_windows_are_of_the_clock_on_the_wall(moment: str, *, inside: bool) -> None:
    windows = (checked_window("Mon-Fri  08:00-18:00", "w"), checked_window("sat 22:00-06:00", "w"))
    assert is_within(windows, BERLIN, at(moment)) is inside


@pytest.mark.parametrize("zero", [0x6F0, 0x660])
def test_a_window_has_one_spelling_whatever_the_keyboard(zero: int) -> None:
    typed = str.maketrans("0123456789", "".join(map(chr, range(zero, zero + 10))))
    assert checked_window("Mon,Fri  08:00-18:30".translate(typed), "w") == "mon,fri 08:00-18:30"


def test_digits_that_no_page_takes_are_no_window() -> None:
    typed = str.maketrans("0123456789", "".join(map(chr, range(0x966, 0x970))))
    with pytest.raises(Invalid, match="is no window"):
        checked_window("mon 08:00-18:00".translate(typed), "w")


def test_a_window_up_to_midnight_has_no_gap_before_the_next_day() -> None:
    windows = (checked_window("fri-mon 00:00-24:00", "w"),)
    start = datetime(2026, 11, 27, tzinfo=BERLIN)
    assert all(is_within(windows, BERLIN, (start + timedelta(minutes=15 * i)).timestamp()) for i in range(4 * 96))
    assert not is_within(windows, BERLIN, (start + timedelta(days=4)).timestamp())


@pytest.mark.parametrize(
    "text", ["", "08:00-18:00", "mon 8-18", "moo 08:00-18:00", "mon 08:00-25:00", "mon 08:60-09:00", "mon 08:00-08:00"]
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is no window"):
        checked_window(text, "windows[0]")
