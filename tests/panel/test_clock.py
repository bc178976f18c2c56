"""Identifiers sort in the order in which they were made."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from wgfleet.panel import clock


def test_ids_sort_in_their_order_though_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = clock.new_id()
    monkeypatch.setattr("wgfleet.panel.clock.time.time_ns", lambda: 0)
    made = [before, *(clock.new_id() for _ in range(3))]
    assert made == sorted(set(made))


def test_ids_of_one_moment_sort_in_their_order_however_many_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wgfleet.panel.clock.time.time_ns", lambda: 2_000_000_000_000_000_000)
    monkeypatch.setattr(clock, "_numbers", clock._Numbers())  # noqa: SLF001 - or later ids would be of that moment too
    made = [clock.new_id() for _ in range(70_000)]
    assert made == sorted(set(made))


def test_threads_never_make_the_same_number() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: clock.new_id()[:16], range(4000)))
    assert len(set(made)) == len(made)
