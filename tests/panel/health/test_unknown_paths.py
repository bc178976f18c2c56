"""Paths that nobody has measured when it matters: several nodes die together."""

import asyncio
from itertools import product

import pytest

from tests.panel.health.network import DEFAULTS
from tests.panel.health.simulation import Net, Simulation, chance
from wgfleet.panel import clock
from wgfleet.panel.domain.health.paths import Path
from wgfleet.panel.domain.health.votes import PANEL
from wgfleet.panel.reconcile.sightings import Sightings
from wgfleet.protocol.ids import NodeId

RACK = ("n7", "n8", "n9", "n0")
"""Whoever looks at one of them is one of them: in the order of their ids they come after each other."""


def deaths(net: Net, names: tuple[str, ...], after_s: float) -> tuple[Simulation, float]:
    """Let ten nodes live for a while, and some of them die together; return when."""
    died: list[float] = []

    async def killed(_: Simulation) -> None:
        await asyncio.sleep(after_s)
        died.append(clock.monotonic())
        net.dead |= set(names)
        await asyncio.sleep(12)

    return Simulation(net, DEFAULTS, nodes=10).run(killed), died[0]


@pytest.mark.parametrize(("seed", "count"), list(product(range(3), range(1, len(RACK) + 1))))
def test_nodes_that_die_together_are_down_within_a_second(seed: int, count: int) -> None:
    done, died = deaths(Net(chance(seed)), RACK[:count], 5 + seed / 7)
    took = {name: at - died for at, name in done.downs(alive=False)}
    assert took.keys() == set(RACK[:count])
    assert max(took.values()) <= 1.0
    assert done.downs() == []


@pytest.mark.parametrize("seed", range(6))
def test_nodes_that_died_before_the_panel_looked_are_down_within_three_seconds(seed: int) -> None:
    done, began = deaths(Net(chance(seed)), RACK[: seed % 2 + 1], 0)
    took = {name: at - began for at, name in done.downs(alive=False)}
    assert took.keys() == set(RACK[: seed % 2 + 1])
    assert max(took.values()) <= 3.0
    assert done.downs() == []


def test_what_is_long_down_makes_a_panel_that_starts_no_more_patient() -> None:
    seen, now = Sightings(DEFAULTS), clock.monotonic()
    members = [("c", NodeId(f"n{number}")) for number in range(10)]
    seen.forget_all_but(members, members[:4])
    for member in members[:3]:
        seen.answered(PANEL, member, now, 0.01)
    seen.compare(())
    assert seen.wait_s(PANEL, members[3]) == 1.0
    seen.forget_all_but(members, members)
    seen.compare(())
    assert seen.wait_s(PANEL, members[3]) == DEFAULTS.longest_timeout_s, "too many of those in use are not known"


@pytest.mark.parametrize("seed", range(12))
def test_a_panel_that_starts_takes_none_out_that_lives_far_from_all_others(seed: int) -> None:
    dice = chance(seed)
    far_s = dice.uniform(0.3, 1.6)

    def rtt_s(one: str, other: str) -> float:
        return far_s if "n5" in {one, other} else 0.02

    net = Net(dice, loss=(0.0, 0.1)[seed % 2], rtt_s=rtt_s, jitter=0.2)
    done, _ = deaths(net, RACK[:1], 0)
    assert {name for _, name in done.downs(alive=False)} == set(RACK[:1])
    assert done.downs() == []


@pytest.mark.parametrize("seed", range(4))
def test_none_that_lives_is_taken_out_with_them_over_long_and_lossy_ways(seed: int) -> None:
    net = Net(chance(seed), loss=0.1, rtt_s=lambda one, other: 0.4 if PANEL not in {one, other} else 0.15, jitter=0.3)
    done, _ = deaths(net, RACK[:3], 40)
    assert {name for _, name in done.downs(alive=False)} == set(RACK[:3])
    assert done.downs() == []


def test_an_unknown_path_is_waited_for_by_the_way_over_the_panel() -> None:
    seen, now = Sightings(DEFAULTS), clock.monotonic()
    looked_at, looker = ("c", NodeId("n1")), ("c", NodeId("n2"))
    assert seen.wait_s("n2", looked_at) == DEFAULTS.longest_timeout_s, "nothing is known"
    seen.answered(PANEL, looked_at, now, 0.1)
    assert seen.wait_s("n2", looked_at) == DEFAULTS.longest_timeout_s, "one half of the way is not"
    seen.answered(PANEL, looker, now, 0.05)
    halves = [Path().answered(seconds, 6).timeout_s(DEFAULTS.timeout_s, 2.0) for seconds in (0.1, 0.05)]
    assert seen.wait_s("n2", looked_at) == pytest.approx(2 * sum(halves))
    seen.answered("n2", looked_at, now, 0.001)
    assert seen.wait_s("n2", looked_at) == DEFAULTS.timeout_s, "it was measured"
    assert seen.wait_s("witness", looked_at) == DEFAULTS.longest_timeout_s, "nobody probes a witness"


def test_the_first_answer_of_a_busy_panel_is_forgotten_with_a_faster_one() -> None:
    slow = Path().answered(0.5, 6)
    assert slow.timeout_s(0.1, 2.0) == pytest.approx(1.5)
    assert slow.answered(0.02, 6).timeout_s(0.1, 2.0) < 0.6
