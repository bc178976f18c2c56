"""Which pushes and removals are let through."""

from dataclasses import replace

import msgspec
import pytest

from tests.agent.test_journal import state
from wgfleet.agent.interfaces.admission import KeptInterface, Situation, check_delete, check_push, past_after_delete
from wgfleet.protocol.desired import delta_between
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName

NAME, OURS, OTHER = InterfaceName("wg0"), ConfigId("config-1"), ConfigId("config-2")


def situation(
    kept: int | None = None, *, config: ConfigId = OURS, foreign: bool = False, past: int | None = None
) -> Situation:
    return Situation(
        NAME,
        None if kept is None else KeptInterface(config, Generation(kept)),
        foreign=foreign,
        past=None if past is None else Generation(past),
    )


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (situation(), None),
        (situation(4), None),
        (situation(5), None),
        (situation(6), "older_generation"),
        (situation(1, config=OTHER), "other_config"),
        (situation(foreign=True), "foreign_interface"),
        (situation(past=4), None),
        (situation(past=5), "older_generation"),
        (situation(5, past=9), None),  # it was brought back since
    ],
)
def test_a_whole_push_of_generation_five(now: Situation, reason: str | None) -> None:
    refusal = check_push(state(5, {1}), now)
    assert (refusal and refusal.reason) == reason


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (situation(4), None),
        (situation(3), "base_mismatch"),
        (situation(5), "base_mismatch"),
        (situation(6), "older_generation"),
        (situation(), "base_mismatch"),
        (situation(4, config=OTHER), "other_config"),
        (situation(foreign=True), "foreign_interface"),
    ],
)
def test_a_delta_from_four_to_five(now: Situation, reason: str | None) -> None:
    refusal = check_push(delta_between(state(4, {1}), state(5, {2})), now)
    assert (refusal and refusal.reason) == reason


@pytest.mark.parametrize(
    ("now", "config", "generation", "reason"),
    [
        (situation(), None, None, None),
        (situation(5), None, None, None),
        (situation(5), OURS, Generation(5), None),
        (situation(5), OURS, Generation(4), "older_generation"),
        (situation(5), OTHER, None, "other_config"),
        (situation(foreign=True), None, None, "foreign_interface"),
        (situation(foreign=True), OURS, Generation(5), None),
        (situation(foreign=True, past=4), OURS, Generation(5), None),
    ],
)
def test_a_removal(now: Situation, config: ConfigId | None, generation: Generation | None, reason: str | None) -> None:
    refusal = check_delete(now, config, generation)
    assert (refusal and refusal.reason) == reason


def test_a_removal_by_hand_does_not_end_the_generation_that_it_removes() -> None:
    assert past_after_delete(KeptInterface(OURS, Generation(5)), None) == 4
    assert past_after_delete(KeptInterface(OURS, Generation(5)), Generation(6)) == 6
    assert past_after_delete(None, Generation(6)) == 6
    assert past_after_delete(None, None) is None


@pytest.mark.parametrize("kept", ["", "a"])
@pytest.mark.parametrize("base", ["", "a", "b"])
def test_a_delta_of_another_history_does_not_start_from_what_is_there(kept: str, base: str) -> None:
    now = situation(4)
    assert now.kept is not None
    now = replace(now, kept=replace(now.kept, history=kept))
    delta = msgspec.structs.replace(delta_between(state(4, {1}), state(5, {2})), base_history=base, history="c")
    refusal = check_push(delta, now)
    assert (refusal and refusal.reason) == (None if kept == base else "base_mismatch")
    assert check_push(msgspec.structs.replace(state(4, {1}), history="c"), now) is None  # the same number as a whole
