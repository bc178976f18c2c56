"""Refusals that an agent reports: few entries, whatever it sends."""

from wgfleet.panel.reconcile.agents.refusal_buffer import MAX_COUNT, MAX_KINDS, MAX_REASON, RefusalBuffer
from wgfleet.protocol.messages import Refused


def test_ten_thousand_refusals_of_an_older_agent_are_two_entries() -> None:
    buffer = RefusalBuffer()
    for number in range(10_000):
        buffer.add(Refused(1.0, f"2001:db8::{number:x}", "no certificate"), now=number / 1000)
    assert buffer.take(10) == [(("2001:db8::0", "no certificate"), 1)]
    assert buffer.take(60) == [(("2001:db8::/64", "no certificate"), 9_999)]
    assert buffer.take(200) == []


def test_counts_of_newer_agents_add_up() -> None:
    buffer = RefusalBuffer()
    for count in (1, 500, -7, 10**30):
        buffer.add(Refused(1.0, "192.0.2.1", "no certificate", count), now=0)
    assert [count for _, count in buffer.take(60)] == [1, 501 + MAX_COUNT]


def test_a_hostile_agent_fills_nothing() -> None:
    buffer = RefusalBuffer()
    for number in range(1000):
        buffer.add(Refused(1.0, f"{number}" * 1000, "x" * 1_000_000), now=0)
    due = buffer.take(0)
    assert len(due) == MAX_KINDS + 1
    assert all(len(text) <= MAX_REASON for kind, _ in due for text in kind)
    buffer.give_back(due * 10)
    assert len(buffer.take(0)) <= 2 * MAX_KINDS
