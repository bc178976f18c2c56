import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.lab.errors import LabError
from wgfleet.lab.pings import count, settled

RATE = 100


def output(answered: list[int], sent: int, sent_in_all: int) -> str:
    """What iputils' ping prints; sequence numbers wrap at 16 bits."""
    lines = ["PING 10.8.0.1 (10.8.0.1) 56(84) bytes of data."]
    lines += [
        f"[{1000 + n / RATE:.6f}] 64 bytes from 10.8.0.1: icmp_seq={n % 65536} ttl=64 time=0.5 ms" for n in answered
    ]
    lines += [f"\r{len(answered)}/{sent} packets, 1% loss, min/avg/ewma/max = 0.4/0.5/0.6/0.7 ms"]
    return "\n".join([*lines, "", f"{sent_in_all} packets transmitted, {len(answered)} received"])


@given(st.sets(st.integers(2, 300)), st.integers(300, 320))
def test_lost_is_what_was_sent_until_the_measure_and_never_answered(lost: set[int], in_all: int) -> None:
    answered = [n for n in range(1, in_all + 1) if n not in lost]
    found = count("client-1", [output(answered, 300, in_all)], until=1000 + 301 / RATE)
    assert (found.sent, found.lost) == (300, len(lost))


def test_the_worst_gap_is_between_consecutive_replies() -> None:
    answered = [n for n in range(1, 301) if not 100 < n < 120]
    found = count("client-1", [output(answered, 300, 300)], until=1000 + 300 / RATE)
    assert found.worst_gap_ms == 200
    assert found.worst_gap_at == pytest.approx(1001.2)


def test_silence_until_the_end_counts_as_a_gap() -> None:
    found = count("client-1", [output(list(range(1, 101)), 300, 310)], until=1004.0)
    assert found.lost == 200
    assert found.worst_gap_ms == 3000


def test_from_a_moment_on_only_the_silence_after_it_counts() -> None:
    answered = [n for n in range(1, 301) if not 50 < n < 150 and not 200 < n < 220]
    text = output(answered, 300, 300)
    for since, expected in ((1000.0, 1000), (1001.2, 300), (1001.6, 200), (1002.15, 50), (1003.5, 0)):
        found = count("client-1", [text], until=1003.01, since=since)
        assert (found.worst_gap_ms, found.later_gap_ms) == (1000, expected)


def test_sequence_numbers_go_on_beyond_16_bits() -> None:
    answered = [n for n in range(1, 140001) if n != 70000]
    found = count("client-1", [output(answered, 140000, 140000)], until=1000 + 140000 / RATE)
    assert (found.sent, found.lost) == (140000, 1)


def test_a_reply_that_comes_twice_counts_once() -> None:
    found = count("client-1", [output([1, 2, 2, 3], 4, 4)], until=1000.04)
    assert (found.sent, found.lost) == (4, 1)


def test_output_without_the_number_sent_is_refused() -> None:
    with pytest.raises(LabError, match="client-1"):
        count("client-1", ["ping: unknown host"], until=0)


def test_a_reply_is_waited_for_until_a_later_one_is_there() -> None:
    for answered, ended in (([1, 2, 3], False), ([1, 2, 3, 4], True), ([1, 2, 4], False), ([1, 2, 3, 5], True)):
        assert settled("client-1", output(answered, 4, 5)) == ended
    assert not settled("client-1", "PING 10.8.0.1 (10.8.0.1) 56(84) bytes of data.")


def test_several_pings_of_a_client_count_together() -> None:
    first, second = output(list(range(1, 101, 2)), 100, 100), output(list(range(2, 100, 2)), 100, 100)
    found = count("client-1", [first, second], until=1001.0)
    assert (found.sent, found.lost) == (200, 200 - 99)
    assert found.worst_gap_ms == 10
