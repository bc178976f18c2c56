"""An agent in the wrong hands that reports and refuses without end: it keeps neither reconcilers nor nodes busy."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from tests.panel.agents.test_belief import report, said, status
from tests.panel.agents.test_errands import refusal, site
from tests.panel.conftest import one_database
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.reconcile.agents import connection as connection_module
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.services import configs
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.messages import Change, Snapshot, WatchMessage


def flickering(config: Config, count: int) -> list[Change]:
    return [
        Change(0.0, (report(config, "k" * 44, "192.0.2.1:1", 0, drift=(Drift("mtu", "1", str(number)),)),))
        for number in range(count)
    ]


def test_reports_that_differ_each_time_wake_the_reconciler_seldom(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    woken: list[float] = []
    line = AgentConnection(
        fra1.id, cast("AgentClient", contextlib.nullcontext()), world.store, lambda: woken.append(time.monotonic())
    )
    said(line, Snapshot(status(clock.now()), ()), *flickering(config, 1000))
    assert 1 <= len(woken) <= 2 * connection_module.WAKES


def test_the_last_of_many_reports_is_not_lost_on_the_reconciler(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "WAKES_A_SECOND", 20.0)
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    seen: list[str] = []

    async def run() -> None:
        line = AgentConnection(
            fra1.id,
            cast("AgentClient", contextlib.nullcontext()),
            world.store,
            lambda: seen.append(line.reported["wg0"].drift[0].observed) if line.reported else None,
        )
        for message in [Snapshot(status(clock.now()), ()), *flickering(config, 300)]:
            line._take(cast("WatchMessage", message))  # noqa: SLF001 - as the stream gives it
        await asyncio.sleep(0.3)

    asyncio.run(run())
    assert seen[-1] == "299"


@pytest.mark.parametrize("reason", ["base_mismatch", "bad_field"])
@one_database
def test_an_agent_that_refuses_the_whole_is_tried_ever_more_rarely(
    world: World, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [clock.monotonic()]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    with site(world, "wg0", "wg1") as (fra1, (wg0, _)):
        fra1.agent.refuses["wg0"] = refusal(reason, 1, wg0.id)

        async def tries(for_s: float) -> int:
            fra1.agent.said.clear()
            for _ in range(30):
                await fra1.pusher.cycle(fra1.connection)
                now[0] += for_s / 30
            return fra1.agent.said.count("push wg0")

        async def run() -> list[int]:
            counts = [await tries(for_s=3), await tries(for_s=30), await tries(for_s=30)]
            await fra1.pusher.close()
            return counts

        first, then, at_last = asyncio.run(run())
        assert first <= 6
        assert then <= 5
        assert 1 <= at_last <= 2
        assert "wg1" in fra1.agent.kept


@one_database
def test_an_agent_that_is_always_ahead_is_not_run_after(world: World) -> None:
    """Each overtaking gives every node of the config a whole: one node must not make the others work at its pace."""
    with site(world, "wg0", "wg1") as (fra1, (wg0, wg1)):

        async def ahead(push: Any, *shared: Any) -> Any:
            fra1.agent.said.append("push")
            if getattr(push, "settings", None) is not None and push.settings.name == "wg1":
                return await kept(push, *shared)
            raise refusal("older_generation", push.generation, wg0.id)

        kept: Callable[..., Awaitable[Any]] = fra1.agent.push
        fra1.agent.push = ahead  # type: ignore[method-assign, assignment]
        before = wg0.generation
        fra1.cycles(30, pause_s=0.02)
        with world.store.read() as tx:
            assert configs.get(tx, wg0.id).generation <= before + 6
        assert 1 <= len(fra1.audited("generation_overtaken")) <= 2
        assert "minutes" in fra1.summary(wg0)
        assert len(fra1.agent.said) < 10
        del wg1
