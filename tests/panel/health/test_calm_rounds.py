"""Probes of very many nodes: rarely while all is well, and at once where there is doubt."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest

from tests.panel.health import simulation as paper
from tests.panel.health.network import DEFAULTS
from tests.panel.health.simulation import Net, Simulation, chance, detection_s
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import PANEL, Health
from wgfleet.panel.reconcile.probes import CALM, MOST_PER_S, UNHEARD_S
from wgfleet.panel.reconcile.sightings import Sightings
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import HEARTBEAT_S

NODES = 200
CALM_PER_S = MOST_PER_S / CALM


@dataclass
class CountedNet(Net):
    """A network that notes when the panel probed whom, and whose agents are heard at every heartbeat."""

    def __post_init__(self) -> None:
        self.probes: list[tuple[float, str]] = []
        self.quiet_since: dict[str, float] = {}
        """Agents of whom nothing comes any more, though their machines live."""

    async def packet(self, vantage: str, target: str, timeout_s: float) -> float | None:
        if vantage == PANEL:
            self.probes.append((clock.monotonic(), target))
        return await super().packet(vantage, target, timeout_s)

    def heard_at(self, name: str) -> float:
        """Return when an agent was heard last; each has its own moment."""
        phase = int(name[1:]) * 0.037 % HEARTBEAT_S
        at = self.quiet_since.get(name, clock.monotonic())
        return (at - phase) // HEARTBEAT_S * HEARTBEAT_S + phase

    def kill(self, name: str) -> float:
        """Let a node be dead; return when that was."""
        self.dead.add(name)
        self.quiet_since[name] = clock.monotonic()
        return clock.monotonic()


@contextmanager
def heartbeats(net: CountedNet) -> Iterator[None]:
    heard: Any = property(lambda agent: net.heard_at(agent.name))
    with mock.patch.object(paper._Agent, "heard_at", heard):  # noqa: SLF001 - the line of a node on paper
        yield


def probes_per_s(nodes: int, seconds: float) -> tuple[Simulation, float]:
    """Have all be well for twice as long; return how many probes a second there were in the second half."""
    net = CountedNet(chance(1))

    async def well(_: Simulation) -> None:
        await asyncio.sleep(seconds)
        net.probes.clear()
        await asyncio.sleep(seconds)

    with heartbeats(net):
        done = Simulation(net, DEFAULTS, nodes=nodes).run(well)
    return done, len(net.probes) / seconds


def test_many_nodes_are_probed_rarely_while_all_is_well() -> None:
    done, found = probes_per_s(NODES, 10)
    assert done.monitor.changes == []
    assert found == pytest.approx(CALM_PER_S, rel=0.1)


@pytest.mark.parametrize("nodes", [10, 50])
def test_few_nodes_are_probed_at_their_interval(nodes: int) -> None:
    _, found = probes_per_s(nodes, 5)
    assert found == pytest.approx(nodes / DEFAULTS.interval_s, rel=0.1)


def dies(net: CountedNet, after_s: float) -> None:
    """Have one of many nodes die, and expect it to be down soon, and no other."""
    took: list[float | None] = []

    async def killed(simulation: Simulation) -> None:
        await asyncio.sleep(after_s)
        net.quiet_since["n7"] = clock.monotonic()
        took.append(await detection_s(simulation, "n7", 5.0))

    with heartbeats(net):
        done = Simulation(net, DEFAULTS, nodes=NODES).run(killed)
    assert took[0] is not None
    assert took[0] <= 1.2
    assert done.downs() == []


@pytest.mark.parametrize("seed", range(6))
def test_a_dead_node_among_many_is_soon_down(seed: int) -> None:
    net = CountedNet(chance(seed))
    dies(net, 5 + net.chance.random())


@pytest.mark.parametrize("seed", range(3))
def test_one_of_which_nothing_is_heard_is_probed_at_once_and_alone(seed: int) -> None:
    net = CountedNet(chance(seed))

    async def quiet(_: Simulation) -> None:
        await asyncio.sleep(5 + net.chance.random())
        net.quiet_since["n7"] = since = clock.monotonic()
        net.probes.clear()
        await asyncio.sleep(UNHEARD_S + 0.1)
        of_it = [at for at, name in net.probes if name == "n7"]
        others = [at for at, name in net.probes if name == "n8"]
        heard_at = net.heard_at("n7")
        assert heard_at <= since
        assert min(at for at in of_it if at >= heard_at + UNHEARD_S) - heard_at <= UNHEARD_S + 0.06
        assert len(of_it) <= len(others) + 1
        await asyncio.sleep(5)
        assert len([at for at, name in net.probes if name == "n7"]) <= len(others) + 9, "once, until it is heard again"

    with heartbeats(net):
        done = Simulation(net, DEFAULTS, nodes=NODES).run(quiet)
    assert done.monitor.changes == []


def test_none_is_taken_out_where_the_panel_itself_is_cut_off() -> None:
    net = CountedNet(chance(3))

    async def cut(simulation: Simulation) -> None:
        await asyncio.sleep(5.3)
        net.quiet_since = dict.fromkeys(simulation.names, clock.monotonic())
        net.cut = lambda one, _: one == PANEL
        await asyncio.sleep(6)

    with heartbeats(net):
        done = Simulation(net, DEFAULTS, nodes=NODES).run(cut)
    assert [change for change in done.monitor.changes if change[3] is Health.DOWN] == []


@pytest.mark.parametrize("interval_s", [DEFAULTS.interval_s, 0.8])
def test_a_slow_answer_is_forgotten_in_the_same_time_however_often_nodes_are_probed(interval_s: float) -> None:
    member, minutes = ("c", NodeId("n1")), 5
    with mock.patch.object(clock, "monotonic") as monotonic:
        monotonic.return_value = 1000.0
        seen = Sightings(DEFAULTS)
        seen.answered(PANEL, member, 1000.0, 0.5)
        for number in range(round(minutes * 60 / interval_s)):
            monotonic.return_value = sent_at = 1000.0 + (number + 1) * interval_s
            seen.answered(PANEL, member, sent_at, 0.005)
        assert seen.wait_s(PANEL, member) == pytest.approx(0.24, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_answers_that_were_slow_while_the_panel_started_delay_no_verdict(seed: int) -> None:
    net = CountedNet(chance(seed))
    slow = {f"n{number}" for number in range(5, 15)}

    def rtt_s(one: str, target: str) -> float:
        begun = net.probes[0][0] if net.probes else clock.monotonic()
        return 0.6 if one == PANEL and target in slow and clock.monotonic() < begun + 0.5 else 0.02

    net.rtt_s = rtt_s
    dies(net, 1.5)
