"""What is measured of paths: whatever comes, waits and counts stay within their bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panel.health.simulation import chance
from wgfleet.panel.domain.health.paths import MOST_NEEDED, Path, misses_needed, misses_of_note, shared_loss
from wgfleet.protocol.ids import NodeId

outcomes = st.lists(st.one_of(st.none(), st.floats(0.0001, 10)), max_size=300)


def walked(seen: list[float | None], failures: int = 6) -> Path:
    path = Path()
    for rtt_s in seen:
        path = path.missed(since_answered=False) if rtt_s is None else path.answered(rtt_s, failures)
    return path


@given(outcomes, st.integers(1, 40))
def test_whatever_is_seen_is_within_bounds(seen: list[float | None], failures: int) -> None:
    path = walked(seen, failures)
    assert 0 <= path.loss <= 1
    assert 0.3 <= path.timeout_s(0.3, 2.0) <= 2.0
    assert failures <= misses_needed(path.loss, failures) <= max(MOST_NEEDED, failures)
    assert 1 <= misses_of_note(path.loss) <= misses_needed(path.loss, failures)


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_loss_needs_no_fewer_misses(one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert misses_needed(less, 6) <= misses_needed(more, 6)
    assert misses_of_note(less) <= misses_of_note(more)


@given(st.integers(20, 400), st.floats(0, 0.5), st.integers(0, 1000))
def test_the_wait_covers_the_round_trips_that_were_measured(rtt_ms: int, jitter: float, seed: int) -> None:
    dice = chance(seed)
    trips = [rtt_ms / 1000 * (1 + jitter * dice.random()) for _ in range(200)]
    wait_s = walked(list(trips)).timeout_s(0.05, 2.0)
    assert sum(trip > wait_s for trip in trips) <= 4
    assert wait_s < 3 * max(trips) + 0.05


@pytest.mark.parametrize("loss", [0.1, 0.36, 0.64])
def test_loss_is_measured_while_the_node_lives_and_not_while_it_is_dead(loss: float) -> None:
    dice = chance(1)
    path = walked([0.02 if dice.random() >= loss else None for _ in range(2000)], misses_needed(loss, 6))
    assert path.loss == pytest.approx(loss, abs=0.17)
    dead = walked([0.02] * 100 + [None] * 1000 + [0.02])
    assert dead.loss == 0, "an outage is no loss"


@pytest.mark.parametrize("loss", [0.1, 0.36, 0.64])
def test_of_several_probes_at_once_those_that_were_answered_count_as_well(loss: float) -> None:
    dice, path = chance(1), Path()
    for _ in range(200):
        lost = sum(dice.random() < loss for _ in range(12))
        if lost < 12:
            path = path.answered(0.02, 40).beside(11, lost)
    assert path.loss == pytest.approx(loss, abs=0.12)


def test_what_stood_still_once_is_given_that_time_again_and_not_for_ever() -> None:
    path = walked([0.002] * 50)
    assert path.timeout_s(0.1, 2.0) == 0.1
    path = path.missed(since_answered=False).answered(0.4, 6, late=True)
    for _ in range(200):
        path = path.answered(0.002, 6)
    assert 0.35 < path.timeout_s(0.1, 2.0) <= 0.4
    assert path.doubt_s(0.1, 2.0) < 0.1, "others are asked as soon as ever"
    for _ in range(10_000):
        path = path.answered(0.002, 6)
    assert path.timeout_s(0.1, 2.0) == 0.1


def test_a_late_answer_was_not_lost() -> None:
    path = walked([0.1] * 50)
    for _ in range(50):
        path = path.missed(since_answered=False).answered(0.5, 6, late=True)
    assert path.loss == 0
    assert path.timeout_s(0.3, 2.0) > 0.5


def test_a_path_is_as_bad_as_others_of_the_same_machine() -> None:
    bad, good = Path(0.02, 0.0, 0.4, 0, 100), Path(0.02, 0.0, 0.0, 0, 100)
    found = shared_loss(
        {("panel", NodeId("a"), "c"): bad, ("b", NodeId("a"), "c"): good, ("b", NodeId("z"), "c"): good}
    )
    assert found["panel", NodeId("a"), "c"] == 0.4
    assert found["b", NodeId("a"), "c"] == pytest.approx(0.2)
    assert found["b", NodeId("z"), "c"] == 0
