"""The answer to a takeover in lines, cut anywhere, by an agent that keeps to the protocol and by one that does not."""

import msgspec
import pytest

from tests.agent.values import random_key
from wgfleet.panel.agents.takeover_lines import TakeoverLines
from wgfleet.panel.errors import TransientError
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Takeover, TakeoverPeer, TakeoverResult

ONE, TWO = PublicKey(random_key()), PublicKey(random_key())
TAKEOVER = Takeover(tuple(TakeoverPeer(key, "198.51.100.7:4000") for key in (ONE, TWO)), settle_s=0.1)
EARLY, ALL = TakeoverResult({ONE: 0.1}, (), more=True), TakeoverResult({ONE: 0.1}, (TWO,))


def body(*said: TakeoverResult) -> bytes:
    return b"".join(msgspec.json.encode(each) + b"\n" for each in said)


def taken(whole: bytes) -> TakeoverResult:
    lines = TakeoverLines("node x", TAKEOVER, lambda _: None)
    lines.take(whole)
    return lines.last(whole)


@pytest.mark.parametrize("whole", [body(EARLY, ALL), body(EARLY, ALL)[:-1]], ids=["ended", "unended"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_those_who_answered_early_are_heard_as_they_come_and_the_last_line_is_of_all(whole: bytes, size: int) -> None:
    heard: list[TakeoverResult] = []
    lines = TakeoverLines("node x", TAKEOVER, heard.append)
    for at in range(0, len(whole), size):
        lines.take(whole[at : at + size])
    assert heard == [EARLY]
    assert lines.last(whole) == ALL


def test_an_agent_that_knows_no_lines_answers_with_one_that_has_no_end() -> None:
    heard: list[TakeoverResult] = []
    lines, whole = TakeoverLines("node x", TAKEOVER, heard.append), msgspec.json.encode(ALL)
    lines.take(whole)
    assert (heard, lines.last(whole)) == ([], ALL)


@pytest.mark.parametrize(
    "whole",
    [body(EARLY), b"", b"\n", b"[]", body(TakeoverResult({}, (ONE, TWO, ONE)))],
    ids=["early", "nothing", "empty", "list", "more"],
)
def test_an_answer_without_an_end_or_with_more_than_was_asked_is_none(whole: bytes) -> None:
    with pytest.raises(TransientError, match="node x"):
        taken(whole)
