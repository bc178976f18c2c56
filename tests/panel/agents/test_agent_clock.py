"""An agent's clock is known by what it says in time; what comes late does not make it wrong."""

import pytest

from wgfleet.panel.reconcile.agents.agent_clock import AgentClock


def known(ahead_s: float) -> AgentClock:
    found = AgentClock()
    found.says(1000.0 + ahead_s, 1000.0)
    return found


def test_messages_that_come_late_do_not_make_a_clock_be_behind() -> None:
    """As where they get lost and are repeated, or the panel is busy: one after the other, then all at once."""
    found = known(0.2)
    for beat in range(8):
        said = 1001.0 + beat / 2
        found.says(said + 0.2, max(said, 1004.5))
        assert found.ahead_s == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("set_by_s", [3.0, 300.0, -300.0])
def test_a_clock_that_is_set_is_known_at_once_where_no_message_is_so_late(set_by_s: float) -> None:
    found = known(0.0)
    found.says(1001.0 + set_by_s, 1001.0)
    assert found.ahead_s == set_by_s


def test_a_clock_that_is_set_back_a_little_is_known_after_a_while() -> None:
    found = known(0.0)
    for beat in range(12):
        found.says(1001.0 + beat / 2 - 3.0 - (beat % 3) / 10, 1001.0 + beat / 2)
    assert found.ahead_s == pytest.approx(-3.0)
