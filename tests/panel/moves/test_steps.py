"""The order of the steps of operations that move peers, for every state their rows can be in."""

import dataclasses
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain import moves
from wgfleet.panel.domain.moves import MoveStep, MoveView, needs_sessions
from wgfleet.panel.domain.operations import OperationKind

S = MoveStep
CONFIRM_S = 10.0
next_step = partial(moves.next_step, confirm_within_s=CONFIRM_S)
times = st.floats(0, 100)
nodes = st.sampled_from([(), ("a",), ("a", "b")])


def views_of(*kinds: OperationKind) -> st.SearchStrategy[MoveView]:
    removes = kinds == (OperationKind.REMOVE_NODE,)
    never = st.just(value=False)
    return st.builds(
        MoveView,
        kind=st.sampled_from(kinds),
        finished=st.booleans(),
        over=never if removes else st.booleans(),
        placed=st.booleans(),
        unsettled=st.integers(0, 3),
        drain_ends_at=times,
        sources=nodes,
        unconfirmed=nodes,
        backed_up=st.booleans() if removes else never,
        retired=st.booleans() if removes else never,
        owed=st.booleans() if removes else never,
        clean_ends_at=times,
        unchecked=st.booleans(),
    )


removals = views_of(OperationKind.REMOVE_NODE)
others = views_of(
    *(kind for kind in OperationKind if kind not in {OperationKind.REMOVE_NODE, OperationKind.DRAIN_GROUP})
)
views = removals | others


def after(view: MoveView, step: MoveStep) -> MoveView:
    """Return what the rows say once a step was done."""
    done = {
        S.BACKUP: {"backed_up": True},
        S.PLACE: {"placed": True, "drain_ends_at": 100.0},
        S.TAKEOVER: {"unsettled": 0},
        S.RETIRE: {"retired": True, "owed": True, "unsettled": 0, "clean_ends_at": 100.0},
        S.CLEAN: {"owed": False},
        S.CONFIRM: {"unconfirmed": ()},
        S.RECALL: {"unchecked": False},
        S.CLOSE: {"finished": True},
        S.DONE: {},
    }
    return dataclasses.replace(view, **done[step])  # type: ignore[arg-type]  # the values fit their fields


@given(views, times)
def test_from_any_state_the_steps_end_in_order(view: MoveView, now: float) -> None:
    order = list(S)
    steps = []
    while (step := next_step(view, now)) is not S.DONE:
        steps.append(step)
        view = after(view, step)
        assert len(steps) <= len(order)
    assert steps == sorted(set(steps), key=order.index)


@given(views, times)
def test_a_step_that_was_done_does_not_come_again(view: MoveView, now: float) -> None:
    step = next_step(view, now)
    assert step is S.DONE or next_step(after(view, step), now) is not step


@given(removals, times)
def test_nothing_is_removed_before_it_was_saved_and_its_peers_placed(view: MoveView, now: float) -> None:
    if next_step(view, now) in {S.TAKEOVER, S.RETIRE, S.CLEAN, S.RECALL, S.CLOSE}:
        assert view.backed_up
        assert view.placed


@given(others, times)
def test_only_a_removal_saves_retires_and_cleans(view: MoveView, now: float) -> None:
    assert next_step(view, now) in {S.PLACE, S.TAKEOVER, S.CONFIRM, S.RECALL, S.CLOSE, S.DONE}


@given(others, times)
def test_peers_are_placed_unless_there_is_nothing_more_to_move(view: MoveView, now: float) -> None:
    if next_step(view, now) in {S.TAKEOVER, S.CONFIRM, S.RECALL, S.CLOSE}:
        assert view.placed or view.over
    if view.over:
        assert next_step(view, now) not in {S.PLACE, S.TAKEOVER}


@given(views, times)
def test_sessions_are_waited_for_until_the_window_ends_and_no_longer(view: MoveView, now: float) -> None:
    if next_step(view, now) is S.TAKEOVER:
        assert view.unsettled
        assert now < view.drain_ends_at
    if next_step(view, now) in {S.RETIRE, S.CONFIRM, S.RECALL, S.CLOSE} and not view.retired:
        assert view.over or not view.unsettled or now >= view.drain_ends_at


@given(others, times)
def test_a_node_that_lost_sessions_is_waited_for_a_while_before_the_end(view: MoveView, now: float) -> None:
    if next_step(view, now) is S.CONFIRM:
        assert view.unconfirmed
        assert now < view.drain_ends_at + CONFIRM_S
    if next_step(view, now) in {S.RECALL, S.CLOSE}:
        assert not view.unconfirmed or now >= view.drain_ends_at + CONFIRM_S


@given(views, times)
def test_sessions_are_known_before_peers_are_placed_and_before_a_removal_gives_them_up(
    view: MoveView, now: float
) -> None:
    step = next_step(view, now)
    assert needs_sessions(view, step) == (
        step in {S.PLACE, S.RECALL} or (view.kind is OperationKind.REMOVE_NODE and step in {S.TAKEOVER, S.RETIRE})
    )
