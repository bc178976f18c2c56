"""Quantities as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.quantities import LEAST_SPEED, MAX_SPEED, check_speed, size_text, speed_of, speed_text


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("20mbit", 20_000_000),
        ("20 Mbit/s", 20_000_000),
        ("1.5Gbps", 1_500_000_000),
        ("500k", 500_000),
        ("100000", 100_000),
        ("0", 0),
        (" 64 kbit ", 64_000),
        ("\u06f2\u06f5\u06f0kbit", 250_000),
        ("\u0661\u066b\u0665 mbit", 1_500_000),
    ],
)
def test_speeds_are_read_as_people_write_them(text: str, bits: int) -> None:
    assert speed_of(text) == bits


@pytest.mark.parametrize("text", ["", "fast", "20MB", "20mb", "-1mbit", "1e6", "20 mbit s", "\u0966mbit", "9" * 5000])
def test_what_is_no_speed_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 20mbit"):
        speed_of(text)


@given(st.integers(LEAST_SPEED, MAX_SPEED))
def test_what_is_shown_can_be_written_again(bits: int) -> None:
    assert abs(speed_of(speed_text(bits)) - bits) <= bits * 1e-5


def test_speeds_that_can_be_no_limit_name_their_field() -> None:
    check_speed(0, "download")
    with pytest.raises(FieldError, match="download"):
        check_speed(LEAST_SPEED - 1, "download")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (5 * 2**30, "5 GiB"),
        (50_000_000, "50 MB"),
        (3 * 2**29, "1.5 GiB"),
        (12_500_000, "12.5 MB"),
        (1000, "1 kB"),
        (1024, "1 KiB"),
        (999, "999 B"),
        (123_456_789, "123456789 B"),
    ],
)
def test_a_size_is_said_in_the_unit_in_which_it_is_round(count: int, text: str) -> None:
    assert size_text(count) == text
