"""The watch over nodes with real rows; who answers whom is as each test says, and somebody sets the panel's clock.

Time is on paper, but where threads are in question: a watch that a busy machine holds up would hear of nobody in time.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import pytest

from tests.panel.conftest import one_database
from tests.panel.world import World
from tests.paper_loop import PaperLoop
from tests.waiting import WITHIN_S, eventually
from wgfleet.panel import clock
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.domain.health.votes import Health, Standing
from wgfleet.panel.reconcile import freeze_notes, new_addresses, observations
from wgfleet.panel.reconcile import health as watching
from wgfleet.panel.reconcile.agents.connection import SILENT_S, AgentConnection
from wgfleet.panel.reconcile.engine import threads
from wgfleet.panel.reconcile.engine.tasks import BackgroundTasks
from wgfleet.panel.reconcile.health import HealthMonitor
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import health as health_service
from wgfleet.panel.settings.health import HealthSettings as Rules
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Config, Node
from wgfleet.probing.prober import ProbeOutcome
from wgfleet.protocol.features import ALL, Feature
from wgfleet.protocol.handshake import Answer
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import (
    AgentStatus,
    Heartbeat,
    ProbeRequest,
    ProbeResult,
    ProbeTarget,
    Snapshot,
    WatchMessage,
)

RULES = Rules(interval_s=0.05, timeout_s=0.05, cross_check_s=0.2, fresh_s=1.0, stable_s=1.0)
T = TypeVar("T")


@dataclass
class Network:
    """Whom nobody reaches; the panel's prober and the lines to agents are of this."""

    dead: set[str] = field(default_factory=set)
    connected: bool = True
    silent: bool = False
    heard_at: float = 0.0
    last_seen_at: float | None = 0.0
    features: frozenset[Feature] = ALL

    @property
    def client(self) -> "Network":
        return self

    async def probe(
        self, asked: ProbeRequest | ProbeTarget, _timeout_s: float = 0.0, _notices: object = (), **_beside: str
    ) -> ProbeResult | ProbeOutcome:
        await asyncio.sleep(0)
        if isinstance(asked, ProbeTarget):
            answer = None if asked.endpoint in self.dead else Answer.RESPONSE
            return ProbeOutcome(asked.endpoint, answer, 0.0, "")
        ends = [target.endpoint for target in asked.targets]
        return ProbeResult(
            answered={end: 0.0 for end in ends if end not in self.dead},
            unanswered=tuple(end for end in ends if end in self.dead),
        )

    async def is_listening(self, _within_s: float) -> bool:
        return False

    def renew(self) -> None:
        """There are no ports."""

    def close(self) -> None:
        """Nothing is open."""


def on_paper(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run it in time on paper, both clocks going on from where they are, and with the work on rows in its thread."""
    loop = PaperLoop()
    loop.paper.now = began = clock.monotonic()
    began_at = clock.now()

    async def inline(function: Callable[..., Any], *given: Any) -> Any:
        return function(*given)

    monkeypatch.setattr(clock, "monotonic", loop.time)
    monkeypatch.setattr(clock, "now", lambda: began_at + loop.time() - began)
    monkeypatch.setattr(watching, "in_decision_thread", inline)
    monkeypatch.setattr(freeze_notes, "in_decision_thread", inline)
    monkeypatch.setattr(new_addresses, "in_thread", inline)
    try:
        loop.run_until_complete(work())
    finally:
        loop.close()


async def until(look: Callable[[], T | None]) -> T:
    """Do as `eventually` does, in time on paper."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while not (seen := look()):
        assert loop.time() - begun < WITHIN_S
        await asyncio.sleep(RULES.interval_s)
    return seen


def monitor_on(
    network: object,
    world: World,
    nodes: Iterable[Node],
    monkeypatch: pytest.MonkeyPatch,
    outlook: Outlook | None = None,
) -> HealthMonitor:
    """Return a monitor whose prober, and lines to the agents of nodes, are a network on paper."""
    monkeypatch.setattr(watching, "Prober", lambda: network)
    connections = cast("dict[str, AgentConnection]", dict.fromkeys((node.id for node in nodes), network))
    return HealthMonitor(world.store, world.vault, RULES.rules, connections, outlook or Outlook())


def state(world: World, config: Config, node: Node) -> Health:
    with world.store.read() as tx:
        assignment = assignment_rows.get(tx, config.id, node.id)
    assert assignment is not None
    return assignment.health


@pytest.mark.parametrize("set_by_s", [-3600, 3600])
@one_database
def test_setting_the_clock_neither_blinds_the_watch_nor_ends_a_trial(
    world: World, monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    config = world.config()
    found = world.serving(config, "fra1", "ams1", "par1")
    fra1, ams1, par1 = found
    network = Network()
    monitor = monitor_on(network, world, found, monkeypatch)

    async def watched() -> None:
        real = clock.now
        watching_them = monitor.start()
        try:
            await asyncio.sleep(0.5)
            monkeypatch.setattr(clock, "now", lambda: real() + set_by_s)
            network.dead = {"192.0.2.1:51820"}
            await until(lambda: state(world, config, fra1) is Health.DOWN)
            assert [state(world, config, node) for node in (ams1, par1)] == [Health.SERVING] * 2
            network.dead = set()
            await until(lambda: state(world, config, fra1) is Health.RECOVERING)
            begun = clock.monotonic()
            monkeypatch.setattr(clock, "now", real)
            world.sync_all(config, *found)
            await until(lambda: state(world, config, fra1) is Health.SERVING)
            assert clock.monotonic() - begun > RULES.stable_s / 2, "its trial takes the time that it takes"
        finally:
            await watching_them.stop()

    on_paper(monkeypatch, watched)
    with world.store.read() as tx:
        history = health_service.history(tx, config.id)
    assert {change.node_id for change in history if change.after != Health.SERVING} == {fra1.id}


@one_database
def test_a_node_goes_down_while_all_other_work_with_the_database_hangs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    found = world.serving(config, "fra1", "ams1", "par1")
    network = Network()
    monitor = monitor_on(network, world, found, monkeypatch)

    def answers() -> bool:
        seen = monitor._probes.seen.from_here((config.id, NodeId(found[0].id)))  # noqa: SLF001 - it has looked, at least
        return seen is not None and seen.last_ok_at is not None

    async def watched() -> None:
        go_on = threading.Event()
        stuck: list[asyncio.Task[bool]] = []
        for work in set(threads.Work) - {threads.Work.DECISION}:
            with threads.doing(work):
                stuck += [asyncio.create_task(threads.in_thread(go_on.wait)) for _ in range(100)]
        watching_them = monitor.start()
        try:
            await asyncio.to_thread(eventually, answers)
            network.dead = {"192.0.2.1:51820"}
            await asyncio.to_thread(eventually, lambda: state(world, config, found[0]) is Health.DOWN)
        finally:
            go_on.set()
            await asyncio.gather(*stuck)
            await watching_them.stop()

    asyncio.run(watched())


@one_database
def test_a_panel_that_starts_waits_for_agents_before_it_calls_their_nodes_unmanaged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have hundreds of connections to make; one that had been missed before goes on being so."""
    config = world.config()
    fra1, *_ = found = world.serving(config, "fra1", "ams1", "par1")
    with world.store.write() as tx:
        missed = Standing(Health.UNMANAGED, clock.now(), "the agent does not answer; clients are served")
        health_service.record(tx, config.id, {fra1.id: missed})
    network = Network(connected=False, last_seen_at=None)
    monitor = monitor_on(network, world, found, monkeypatch)
    network.heard_at = clock.monotonic() - RULES.rules.unmanaged_after_s - 1

    def states() -> list[Health]:
        return [state(world, config, node) for node in found]

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            await asyncio.sleep(2 * RULES.fresh_s)
            assert states() == [Health.UNMANAGED, Health.SERVING, Health.SERVING]
            network.connected, network.last_seen_at = True, clock.now()
            await until(lambda: states() == [Health.SERVING] * 3)
            network.connected = False
            await until(lambda: states() == [Health.UNMANAGED] * 3)
        finally:
            await watching_them.stop()

    on_paper(monkeypatch, watched)
    with world.store.read() as tx:
        changes = health_service.history(tx, config.id)
    assert [change.after for change in changes if change.node_id == fra1.id] == ["unmanaged", "serving", "unmanaged"]


@one_database
def test_an_agent_that_a_panel_never_hears_after_its_start_is_missed_in_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    found = world.serving(config, "fra1", "ams1", "par1")
    network = Network(connected=False, last_seen_at=None, heard_at=clock.monotonic() - observations.START_S - 1)
    monitor = monitor_on(network, world, found, monkeypatch)

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            await until(lambda: state(world, config, found[0]) is Health.UNMANAGED)
        finally:
            await watching_them.stop()

    on_paper(monkeypatch, watched)


@one_database
def test_a_node_that_drains_is_watched_like_one_that_serves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    config = world.config()
    found = world.serving(config, "fra1", "ams1", "par1")
    world.remove(config, found[0], force=True)
    network = Network()
    monitor = monitor_on(network, world, found, monkeypatch)

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            await asyncio.sleep(0.5)
            network.dead = {"192.0.2.1:51820"}
            await until(lambda: state(world, config, found[0]) is Health.DOWN)
        finally:
            await watching_them.stop()

    on_paper(monkeypatch, watched)


def test_a_standing_goes_from_one_clock_to_another_and_back() -> None:
    standing = Standing(Health.RECOVERING, 1000.0, "answers again", (900.0, 950.0))
    assert standing.shifted(-900.0) == Standing(Health.RECOVERING, 100.0, "answers again", (0.0, 50.0))
    assert standing.shifted(-900.0).shifted(900.0) == standing


def test_a_link_is_silent_when_nothing_was_heard_for_a_while_whatever_the_clock_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = asyncio.Event()

    class Agent:
        async def watch(self, hear: Callable[[WatchMessage], None]) -> None:
            hear(Snapshot(AgentStatus(NodeId("n1"), "1", "kernel", 0.0, clock.now(), 0.0, 1.0, ()), ()))
            hear(Heartbeat(clock.now()))
            silence.set()
            await asyncio.Event().wait()

        async def aclose(self) -> None:
            """Nothing is open."""

    async def listened() -> None:
        connection = AgentConnection("n1", cast("AgentClient", Agent()), world.store, lambda: None)
        connection.start(BackgroundTasks())
        try:
            await asyncio.wait_for(silence.wait(), 30)
            real, monotonic = clock.now(), clock.monotonic()
            monkeypatch.setattr(clock, "monotonic", lambda: monotonic)
            for ahead_s in (0, 3600, -3600):
                monkeypatch.setattr(clock, "now", lambda ahead_s=ahead_s: real + ahead_s)
                assert not connection.silent
            monkeypatch.setattr(clock, "monotonic", lambda: monotonic + SILENT_S + 0.1)
            assert connection.silent
        finally:
            monkeypatch.undo()
            await connection.close()

    asyncio.run(listened())


@one_database
def test_a_panel_that_stood_still_does_not_take_its_own_silence_for_that_of_agents(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config()
    found = world.serving(config, "fra1", "ams1", "par1")
    network = Network(heard_at=clock.monotonic())
    monitor = monitor_on(network, world, found, monkeypatch)

    async def watched() -> None:
        real = clock.monotonic
        watching_them = monitor.start()
        try:
            await asyncio.sleep(0.3)
            network.connected, network.heard_at = False, real()
            monkeypatch.setattr(clock, "monotonic", lambda: real() + 60)
            await asyncio.sleep(1.0)
            assert [state(world, config, node) for node in found] == [Health.SERVING] * 3
            network.silent = True
            await until(lambda: state(world, config, found[0]) is Health.UNMANAGED)
        finally:
            await watching_them.stop()

    on_paper(monkeypatch, watched)
