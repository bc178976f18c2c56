"""The copy of an agent's log that its viewers share: how often the agent is asked, and what each of them sees."""

import asyncio

import pytest

from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile.agents.log_copy import FAILED_S, FRESH_S, LogCopy, LogPart
from wgfleet.protocol.messages import LOG_LINES, AgentLog

VIEWERS = 50


class Agent:
    """An agent that logs, with a number of lines kept; it says nothing while it `hangs`."""

    def __init__(self, run: str = "a1", *, counts: bool = True) -> None:
        self.run, self.counts = run, counts
        self.lines: list[str] = []
        self.asked = 0
        self.hangs: asyncio.Event | None = None
        self.away = False

    async def ask(self, run: str, after: int) -> AgentLog:
        self.asked += 1
        if self.hangs is not None:
            await self.hangs.wait()
        if self.away:
            raise Unavailable("no answer")
        fresh = self.lines[after:] if run == self.run else self.lines
        if not self.counts:
            return AgentLog(tuple(self.lines[-LOG_LINES:]))
        return AgentLog(tuple(fresh[-LOG_LINES:]), self.run, len(self.lines))


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many seconds have passed."""
    passed, real = [0.0], clock.monotonic
    monkeypatch.setattr(clock, "monotonic", lambda: real() + passed[0])
    return passed


async def read(copy: LogCopy, agent: Agent, place: str = "", lines: int = LOG_LINES) -> LogPart:
    await copy.refresh(agent.ask)
    return copy.part(lines, place)


def test_fifty_viewers_cost_an_agent_one_question_a_second(later: list[float]) -> None:
    async def look() -> None:
        copy, agent = LogCopy(), Agent()
        agent.lines = ["one", "two"]
        for second in range(1, 4):
            parts = await asyncio.gather(*(read(copy, agent) for _ in range(VIEWERS)))
            assert {part.lines for part in parts} == {("one", "two")}
            assert agent.asked == second
            later[0] += FRESH_S

    asyncio.run(look())


def test_each_viewer_sees_each_line_once(later: list[float]) -> None:
    async def look() -> None:
        copy, agent = LogCopy(), Agent()
        agent.lines = ["one"]
        first = await read(copy, agent)
        agent.lines += ["two", "three"]
        later[0] += FRESH_S
        late = await read(copy, agent)
        assert (await read(copy, agent, first.place or "")).lines == ("two", "three")
        assert late.lines == ("one", "two", "three")
        assert (await read(copy, agent, late.place or "")).lines == ()
        ahead = "a1.4"  # of another process of the panel, which has asked since
        assert await read(copy, agent, ahead) == LogPart((), ahead)

    asyncio.run(look())


def test_what_came_too_fast_is_counted(later: list[float]) -> None:
    async def look() -> None:
        copy, agent = LogCopy(), Agent()
        agent.lines = ["one"]
        place = (await read(copy, agent)).place or ""
        agent.lines += [str(number) for number in range(LOG_LINES + 500)]
        later[0] += FRESH_S
        part = await read(copy, agent, place, 100)
        assert (len(part.lines), part.lines[-1], part.skipped) == (100, str(LOG_LINES + 499), LOG_LINES + 400)

    asyncio.run(look())


def test_an_agent_that_was_started_again_is_followed_on(later: list[float]) -> None:
    async def look() -> None:
        copy, agent = LogCopy(), Agent("a1")
        agent.lines = ["one", "two", "three"]
        place = (await read(copy, agent)).place or ""
        started = Agent("b2")
        started.lines = ["started"]
        later[0] += FRESH_S
        assert await read(copy, started, place) == LogPart(("started",), "b2.1")

    asyncio.run(look())


def test_an_agent_that_does_not_count_is_shown_and_not_followed() -> None:
    async def look() -> None:
        agent = Agent(counts=False)
        agent.lines = ["one"]
        assert await read(LogCopy(), agent) == LogPart(("one",), None)

    asyncio.run(look())


def test_all_wait_once_for_an_agent_that_hangs_and_who_goes_away_leaves_the_others_theirs(later: list[float]) -> None:
    async def look() -> None:
        copy, agent = LogCopy(), Agent()
        agent.lines, agent.hangs = ["one"], asyncio.Event()
        viewers = [asyncio.create_task(read(copy, agent)) for _ in range(VIEWERS)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert agent.asked == 1
        viewers[0].cancel()
        await asyncio.wait(viewers[:1])
        agent.hangs.set()
        assert {(await each).lines for each in viewers[1:]} == {("one",)}
        assert agent.asked == 2  # the question went away with the one who asked it
        agent.away = True
        later[0] += FRESH_S
        failed = await asyncio.gather(*(read(copy, agent) for _ in range(VIEWERS)), return_exceptions=True)
        assert {type(each) for each in failed} == {Unavailable}
        assert agent.asked == 3
        later[0] += FRESH_S
        with pytest.raises(Unavailable):
            await read(copy, agent)
        assert agent.asked == 3
        agent.away = False
        later[0] += FAILED_S
        assert (await read(copy, agent)).lines == ("one",)

    asyncio.run(look())
