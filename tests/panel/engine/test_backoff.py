"""How long is waited before another try."""

from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.backoff import backoff


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_tries_grow_apart_up_to_the_cap(failures: int, random: float) -> None:
    delay = backoff(failures, random, first_s=1, longest_s=300)
    assert 0.5 <= delay <= 300
    assert backoff(failures + 1, random, first_s=1, longest_s=300) >= delay
    assert backoff(30, random, first_s=1, longest_s=300) >= 150


def test_those_that_failed_together_come_back_apart() -> None:
    delays = [backoff(3, random, first_s=0.25, longest_s=30) for random in (0.0, 0.5, 0.9)]
    assert delays == sorted(set(delays))
    assert delays[0] == 0.5
