"""The watch as it is, on a network on paper and in time on paper: loss, round trips, deaths; minutes take a second."""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast
from unittest import mock

from tests.paper_loop import PaperLoop
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import PANEL, Health, HealthRules, Standing
from wgfleet.panel.reconcile import freeze_notes
from wgfleet.panel.reconcile import health as watching
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.health import HealthMonitor
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services.health import Looker, Probed
from wgfleet.probing.prober import Notice, ProbeOutcome
from wgfleet.protocol.features import ALL, Feature
from wgfleet.protocol.handshake import Answer
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import ProbeRequest, ProbeResult, ProbeTarget

PACE_S = 0.025
CALL_S = 0.005  # a request to an agent and its answer, beside the round trip


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - what gets lost, not a secret


def starved(dice: random.Random, share: float, longest_s: float = 0.25) -> Callable[[str], float]:
    """Return how long each node stands still yet: `share` of the time in all, 20 ms to `longest_s` at once."""
    pauses: dict[str, tuple[float, float]] = {}

    def stands_s(node: str) -> float:
        now = clock.monotonic()
        begins, ends = pauses.get(node, (now, now))
        while ends <= now:
            paused_s = dice.uniform(0.02, longest_s)
            begins = ends + paused_s * (1 - share) / share
            ends = begins + paused_s
        pauses[node] = begins, ends
        return ends - now if begins <= now else 0.0

    return stands_s


@dataclass
class Net:
    """Who answers whom, and when. `loss` is each way, `rtt_s` may be any function of the two ends."""

    chance: random.Random
    loss: float = 0.0
    rtt_s: Callable[[str, str], float] = lambda _one, _other: 0.02
    jitter: float = 0.0
    dead: set[str] = field(default_factory=set)
    cut: Callable[[str, str], bool] = lambda _one, _other: False
    liars: set[str] = field(default_factory=set)
    """Who says of all that they answer at once, and that as many probes get lost as can be."""
    stands_s: Callable[[str], float] = lambda _one: 0.0  # for how long a node stands still yet, as without a processor

    async def packet(self, vantage: str, target: str, timeout_s: float) -> float | None:
        """Probe, and return the seconds that the answer took."""
        seconds = self.rtt_s(vantage, target) * (1 + self.chance.random() * self.jitter) + self.stands_s(target)
        arrives = self.chance.random() >= self.loss and self.chance.random() >= self.loss
        answered = arrives and target not in self.dead and not self.cut(vantage, target) and seconds < timeout_s
        await asyncio.sleep(seconds if answered else timeout_s)
        return seconds if answered else None

    async def knock(self, target: str, within_s: float) -> bool:
        """Open a connection from the panel's machine; the kernel of one that stands still takes it."""
        seconds = self.rtt_s(PANEL, target)
        arrives = self.chance.random() >= self.loss and self.chance.random() >= self.loss
        taken = arrives and target not in self.dead and not self.cut(PANEL, target) and seconds < within_s
        await asyncio.sleep(seconds if taken else within_s)
        return taken


@dataclass
class _Agent:
    """The line to a node's agent, whose probes go over the same network."""

    name: str
    net: Net
    now: Callable[[], float]
    features: frozenset[Feature] = ALL
    silent: bool = False
    last_seen_at: float = 0.0

    @property
    def connected(self) -> bool:
        return self.name not in self.net.dead and not self.net.cut(PANEL, self.name)

    @property
    def heard_at(self) -> float:
        return self.now() if self.connected else 0.0

    @property
    def client(self) -> "_Agent":
        return self

    async def is_listening(self, within_s: float) -> bool:
        """The kernel of a machine that stands still takes connections; a dead one, and one out of reach, does not."""
        return await self.net.knock(self.name, within_s)

    async def probe(self, request: ProbeRequest) -> ProbeResult:
        await asyncio.sleep(CALL_S + self.net.rtt_s(PANEL, self.name) + self.net.stands_s(self.name))
        if self.name in self.net.liars:
            endpoints = [target.endpoint for target in request.targets]
            return ProbeResult(dict.fromkeys(endpoints, 0.001), (), lost=dict.fromkeys(endpoints, 1000))

        async def one(target: ProbeTarget, number: int) -> tuple[str, float | None]:
            await asyncio.sleep(number * PACE_S)
            return target.endpoint, await self.net.packet(self.name, target.endpoint, request.timeout_s)

        found = await asyncio.gather(
            *(one(target, number) for target in request.targets for number in range(request.tries))
        )
        answered = {endpoint: seconds for endpoint, seconds in found if seconds is not None}
        missed = [endpoint for endpoint, seconds in found if seconds is None]
        return ProbeResult(
            answered,
            tuple({endpoint for endpoint in missed if endpoint not in answered}),
            lost={endpoint: missed.count(endpoint) for endpoint in answered},
        )


@dataclass
class _PanelProber:
    net: Net

    async def probe(self, target: ProbeTarget, timeout_s: float, notices: Sequence[Notice] = ()) -> ProbeOutcome:
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(after_s, tell) for after_s, tell in notices]
        try:
            seconds = await self.net.packet(PANEL, target.endpoint, timeout_s)
        finally:
            for timer in timers:
                timer.cancel()
        return ProbeOutcome(target.endpoint, Answer.RESPONSE if seconds is not None else None, seconds, "")

    def renew(self) -> None:
        """There are no ports."""

    def close(self) -> None:
        """Nothing is open."""


class _Monitor(HealthMonitor):
    """The watch with its rows in memory."""

    def open(
        self, names: Sequence[str], sites: Mapping[str, str], beside_panel: Collection[str], witnesses: Sequence[str]
    ) -> None:
        self.witnesses = [Looker("c", "wg0", NodeId(name), sites.get(name, ""), "", "") for name in witnesses]
        self.changes: list[tuple[float, str, Health, Health]] = []
        standing = Standing(Health.SERVING, clock.now() - 100, "answers")
        self.rows = {
            name: Probed(
                assignment_id=name,
                config_id="c",
                config_name="wg0",
                node_id=NodeId(name),
                beside_panel=name in beside_panel,
                endpoint=name,
                public_key="",
                panel_key="",
                node_key="",
                new_node_key="",
                knows_new_keys=False,
                min_nodes=1,
                domain=sites.get(name, ""),
                paused=False,
                leaving=False,
                fence_generation=0,
                applied_generation=0,
                standing=standing,
            )
            for name in names
        }

    def _read(self) -> tuple[list[Probed], frozenset[str], list[Looker]]:
        return list(self.rows.values()), frozenset(), self.witnesses

    def _record(self, changed: Sequence[tuple[Probed, Standing]]) -> None:
        for probed, standing in changed:
            before = self.rows[probed.node_id].standing.state
            if before is not standing.state:
                self.changes.append((clock.monotonic(), probed.node_id, before, standing.state))
            self.rows[probed.node_id] = replace(self.rows[probed.node_id], standing=standing)


@contextmanager
def on_paper(loop: PaperLoop, net: Net) -> Iterator[None]:
    async def inline(function: Callable[..., Any], *given: Any) -> Any:
        return function(*given)

    with (
        mock.patch.object(clock, "monotonic", loop.time),
        mock.patch.object(clock, "now", loop.time),
        mock.patch.object(watching, "in_decision_thread", inline),
        mock.patch.object(freeze_notes, "in_decision_thread", inline),
        mock.patch.object(freeze_notes.FreezeNotes, "_keep"),  # there are no rows
        mock.patch.object(watching, "Prober", return_value=_PanelProber(net)),
    ):
        yield


@dataclass
class Simulation:
    """A fleet under watch. `script` does things to the network while time goes on."""

    net: Net
    rules: HealthRules
    nodes: int = 3
    sites: dict[str, str] = field(default_factory=dict)
    features: frozenset[Feature] = ALL
    beside_panel: frozenset[str] = frozenset()
    witnesses: tuple[str, ...] = ()

    def run(self, script: Callable[["Simulation"], Coroutine[None, None, None]]) -> "Simulation":
        loop = PaperLoop()
        try:
            with on_paper(loop, self.net):
                loop.run_until_complete(self._run(script, loop))
        finally:
            loop.close()
        return self

    async def _run(self, script: Callable[["Simulation"], Coroutine[None, None, None]], loop: PaperLoop) -> None:
        self.names = [f"n{number}" for number in range(self.nodes)]
        agents = {name: _Agent(name, self.net, loop.time, self.features) for name in (*self.names, *self.witnesses)}
        connections = cast("dict[str, AgentConnection]", agents)
        self.monitor = _Monitor(cast("Any", None), cast("Any", None), self.rules, connections, Outlook())
        self.monitor.open(self.names, self.sites, self.beside_panel, self.witnesses)
        watch = asyncio.ensure_future(self.monitor._watch())  # noqa: SLF001 - without a supervisor
        try:
            await script(self)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    def downs(self, *, alive: bool = True) -> list[tuple[float, str]]:
        """Return when which nodes went down, those that were alive or those that were dead."""
        return [
            (at, name)
            for at, name, before, after in self.monitor.changes
            if before.in_use and after is Health.DOWN and (name not in self.net.dead) is alive
        ]


async def detection_s(simulation: Simulation, victim: str, within_s: float) -> float | None:
    """Kill a node, and return the seconds until it is down."""
    died = clock.monotonic()
    simulation.net.dead.add(victim)
    while clock.monotonic() - died < within_s:
        await asyncio.sleep(0.01)
        if simulation.monitor.rows[victim].standing.state is Health.DOWN:
            return clock.monotonic() - died
    return None
