"""The order of a removal's steps, for every state its rows can be in."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.removal import RemovalStep, RemovalView, next_step

S = RemovalStep
times = st.floats(0, 100)
views = st.builds(
    RemovalView,
    finished=st.booleans(),
    has_backup=st.booleans(),
    placed=st.booleans(),
    unsettled=st.integers(0, 3),
    drain_ends_at=times,
    retired=st.booleans(),
    owed=st.booleans(),
    clean_ends_at=times,
)


def after(view: RemovalView, step: RemovalStep) -> RemovalView:
    """Return what the rows say once a step was done."""
    done = {
        S.BACKUP: {"has_backup": True},
        S.PLACE: {"placed": True, "drain_ends_at": 100.0},
        S.TAKEOVER: {"unsettled": 0},
        S.RETIRE: {"retired": True, "owed": True, "unsettled": 0, "clean_ends_at": 100.0},
        S.CLEAN: {"owed": False},
        S.CLOSE: {"finished": True},
        S.DONE: {},
    }
    return dataclasses.replace(view, **done[step])  # type: ignore[arg-type]  # the values fit their fields


@given(views, times)
def test_from_any_state_the_steps_end_in_order(view: RemovalView, now: float) -> None:
    order = list(S)
    steps = []
    while (step := next_step(view, now)) is not S.DONE:
        steps.append(step)
        view = after(view, step)
        assert len(steps) <= len(order)
    assert steps == sorted(set(steps), key=order.index)


@given(views, times)
def test_nothing_is_removed_before_it_was_saved_and_its_peers_placed(view: RemovalView, now: float) -> None:
    if next_step(view, now) in {S.TAKEOVER, S.RETIRE, S.CLEAN, S.CLOSE}:
        assert view.has_backup
        assert view.placed


@given(views, times)
def test_sessions_are_waited_for_until_the_window_ends_and_no_longer(view: RemovalView, now: float) -> None:
    if next_step(view, now) is S.TAKEOVER:
        assert view.unsettled
        assert now < view.drain_ends_at
    if next_step(view, now) is S.RETIRE:
        assert not view.unsettled or now >= view.drain_ends_at
