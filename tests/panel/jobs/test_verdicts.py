"""Verdicts on peers by their jobs: nearest wins, sums and their limits, dates, resets, clocks that are set back."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.jobs.job import TOTALS, Job, JobAction, JobField, Operator, Period, in_effect
from wgfleet.panel.domain.jobs.verdicts import GRAIN, Facts, Used, counted_since, verdict

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()
totals = st.sampled_from(sorted(TOTALS))
counts = st.integers(min_value=0, max_value=2**50)


def job(field: JobField, value: int | None = None, /, **more: object) -> Job:
    values: dict[str, object] = {"operator": Operator.LARGER, "action": JobAction.RESTRICT, **more}
    return Job(id=str(more.get("id", "j1")), field=field, value=value, **{k: v for k, v in values.items() if k != "id"})  # type: ignore[arg-type]


def counted(field: JobField, used: Used) -> int:
    sums = {JobField.TOTAL_RECEIVE: used.received, JobField.TOTAL_SENT: used.sent}
    return sums.get(field, used.received + used.sent)


@given(totals, counts, counts, counts, st.sampled_from(Operator))
def test_a_total_is_the_sum_of_its_directions(
    field: JobField, value: int, received: int, sent: int, operator: Operator
) -> None:
    used = Used(received, sent)
    number = counted(field, used)
    found = verdict([job(field, value, operator=operator)], Facts(used), NOW)
    expected = {
        Operator.LARGER: number > value,
        Operator.LESS: number < value,
        Operator.EQUAL: number == value,
        Operator.NOT_EQUAL: number != value,
    }[operator]
    if field is JobField.TOTAL_DATA and operator is Operator.LARGER and value - GRAIN < number <= value:
        expected = number > value - min(GRAIN, value // 1000)  # nodes let nothing through that would go beyond
    assert (found.restrict is not None) is expected
    if field is JobField.TOTAL_DATA and operator is Operator.LARGER:
        assert found.left == max(0, value - number)


@given(st.lists(st.tuples(st.sampled_from(JobField), st.integers(0, 2)), max_size=12))
def test_of_each_field_the_nearest_layer_counts(made: list[tuple[JobField, int]]) -> None:
    jobs = [(layer, job(field, i, id=str(i))) for i, (field, layer) in enumerate(made)]
    found = in_effect([[each for layer, each in jobs if layer == wanted] for wanted in range(3)])
    for field in JobField:
        layers = [layer for layer, each in jobs if each.field is field]
        nearest = {each.id for layer, each in jobs if each.field is field and layer == min(layers)}
        assert {each.id for each in found if each.field is field} == nearest


def test_none_spares_a_peer_what_its_config_says() -> None:
    own, config = job(JobField.TOTAL_DATA, action=JobAction.NONE), job(JobField.TOTAL_DATA, 1)
    assert in_effect([[own], [], [config, job(JobField.DATE, 1)]]) == [job(JobField.DATE, 1)]


def test_of_several_quotas_the_smallest_rest_is_left() -> None:
    jobs = [job(JobField.TOTAL_DATA, 10**9), job(JobField.TOTAL_DATA, 10**8, period=Period.DAY)]
    (since,) = {counted_since(jobs[1], None, NOW)}
    assert since is not None
    facts = Facts(Used(4 * 10**8, 0), since={since: Used(3 * 10**7, 0)})
    assert verdict(jobs, facts, NOW).left == 7 * 10**7


def test_a_new_period_lets_a_peer_in_again() -> None:
    monthly = job(JobField.TOTAL_DATA, 1000, period=Period.MONTH)
    start = counted_since(monthly, None, NOW)
    assert start == datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    full = Facts(Used(5000, 0), since={start: Used(2000, 0)})
    assert verdict([monthly], full, NOW).restrict is not None
    december = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert verdict([monthly], full._replace(since={december: Used(0, 0)}), december).restrict is None
    # A reset within the period counts for more than the period.
    assert verdict([monthly], full._replace(used=Used(1, 0), reset_at=NOW - 5), NOW).restrict is None


@pytest.mark.parametrize(("ago_s", "restricted"), [(-1, False), (0, True), (1, True)])
def test_a_date_is_reached_with_its_second(ago_s: int, *, restricted: bool) -> None:
    assert (verdict([job(JobField.DATE, int(NOW) - ago_s)], Facts(Used(0, 0)), NOW).restrict is not None) is restricted
    before = job(JobField.DATE, int(NOW) - ago_s, operator=Operator.LESS)
    assert (verdict([before], Facts(Used(0, 0)), NOW).restrict is not None) is not restricted


def test_a_date_after_the_first_use_waits_for_that() -> None:
    days = job(JobField.DATE, 30 * 86400, from_first_use=True, notice_s=86400)
    assert verdict([days], Facts(Used(0, 0)), NOW).restrict is None
    assert verdict([days], Facts(Used(1, 0), first_at=NOW - 30 * 86400), NOW).restrict is not None
    soon = verdict([days], Facts(Used(1, 0), first_at=NOW - 29.5 * 86400), NOW)
    assert (soon.restrict, soon.expires_at) == (None, NOW + 0.5 * 86400)


@given(st.lists(st.floats(min_value=-5e6, max_value=5e6), min_size=1, max_size=12))
def test_a_reset_comes_once_for_each_date_whatever_the_clock_does(steps: list[float]) -> None:
    monthly = job(JobField.DATE, action=JobAction.RESET, period=Period.MONTH, created_at=NOW - 1e7)
    now, facts, resets = NOW, Facts(Used(0, 0)), []
    for step in steps:
        now += step
        for _ in range(2):  # a second look at the same moment finds nothing to do
            if verdict([monthly], facts, now).reset_by:
                resets.append(counted_since(monthly, None, now))
                facts = facts._replace(reset_at=now)
    assert len(resets) == len(set(resets))


def test_deleting_goes_before_restricting() -> None:
    found = verdict(
        [job(JobField.DATE, 0), job(JobField.TOTAL_DATA, 5, action=JobAction.DELETE)], Facts(Used(9, 9)), NOW
    )
    assert found.deleted_by is not None
    assert found.restrict is not None
