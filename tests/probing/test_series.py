"""A series of probes over a path that loses some, in this process."""

import asyncio
from typing import cast

import pytest

from tests.paper_loop import PaperLoop
from wgfleet.probing.prober import ProbeOutcome, Prober
from wgfleet.probing.series import probe_series
from wgfleet.protocol.handshake import Answer
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeTarget

TARGET = ProbeTarget("192.0.2.1:51820", PublicKey(""), PrivateKey(""))
ANSWERED, LOST, UNSENT = "answered", "lost", "unsent"


class Path:
    """Does with each probe what it is told."""

    def __init__(self, *fates: str) -> None:
        self.fates = list(fates)
        self.waited_s: list[float] = []
        self.under_way = 0

    async def probe(self, target: ProbeTarget, timeout_s: float) -> ProbeOutcome:
        fate = self.fates.pop(0)
        self.waited_s.append(timeout_s)
        self.under_way += 1
        try:
            await asyncio.sleep(timeout_s if fate == LOST else 0)
        finally:
            self.under_way -= 1
        answer = cast("Answer", fate) if fate == ANSWERED else None
        return ProbeOutcome(target.endpoint, answer, None, fate, sent=fate != UNSENT)


def outcome_of(path: Path, *timeouts_s: float, apart_s: float = 0.01) -> ProbeOutcome | None:
    with asyncio.Runner(loop_factory=PaperLoop) as runner:
        return runner.run(probe_series(cast("Prober", path), TARGET, timeouts_s, apart_s))


def test_the_first_answer_ends_it() -> None:
    path = Path(LOST, ANSWERED, LOST)
    found = outcome_of(path, 30.0, 20.0, 10.0)
    assert found is not None
    assert found.answer is not None
    assert path.waited_s == [30.0, 20.0], "the third was not needed"
    assert path.under_way == 0


@pytest.mark.parametrize("fates", [(LOST, UNSENT, UNSENT), (UNSENT, UNSENT, LOST)])
def test_one_that_was_sent_counts_where_none_is_answered(fates: tuple[str, ...]) -> None:
    found = outcome_of(Path(*fates), 0.02, 0.02, 0.02)
    assert found is not None
    assert (found.answer, found.sent) == (None, True)


def test_it_is_said_where_none_could_be_sent_and_where_there_was_no_time() -> None:
    found = outcome_of(Path(UNSENT, UNSENT), 1.0, 1.0)
    assert found is not None
    assert not found.sent
    assert outcome_of(Path()) is None
