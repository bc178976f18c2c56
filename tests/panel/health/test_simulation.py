"""Loss and round trips: no living node goes down, and a dead one does soon, with the seeds as they fall."""

import asyncio

import pytest

from tests.panel.health.network import DEFAULTS
from tests.panel.health.simulation import Net, Simulation, chance, detection_s, starved
from wgfleet.panel.domain.health.votes import Health

WATCHED_S = 180


async def watched(_: Simulation) -> None:
    await asyncio.sleep(WATCHED_S)


@pytest.mark.parametrize("nodes", [2, 3, 5])
@pytest.mark.parametrize("loss", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_no_living_node_goes_down_for_loss_each_way(loss: float, nodes: int, seed: int) -> None:
    done = Simulation(Net(chance(seed), loss=loss, jitter=0.3), DEFAULTS, nodes=nodes).run(watched)
    assert done.downs() == []
    assert [change for change in done.monitor.changes if change[3] is not Health.SERVING][2:] == [], "it flickers"


@pytest.mark.parametrize("rtt_ms", [20, 100, 200, 290, 300, 400])
@pytest.mark.parametrize("jitter", [0.0, 0.5])
def test_no_living_node_goes_down_for_long_round_trips(rtt_ms: int, jitter: float) -> None:
    net = Net(chance(1), rtt_s=lambda _one, _other: rtt_ms / 1000, jitter=jitter)
    assert Simulation(net, DEFAULTS).run(watched).monitor.changes == []


def test_no_living_node_goes_down_when_round_trips_become_long_at_once() -> None:
    now = [0.02]

    async def slower(_: Simulation) -> None:
        for seconds in (0.02, 0.25, 0.4, 0.1, 0.45):
            now[0] = seconds
            await asyncio.sleep(30)

    net = Net(chance(1), rtt_s=lambda _one, _other: now[0], jitter=0.2)
    assert Simulation(net, DEFAULTS).run(slower).downs() == []


def test_loss_between_the_panel_and_nodes_alone_is_no_flicker() -> None:
    class Half(Net):
        async def packet(self, vantage: str, target: str, timeout_s: float) -> float | None:
            self.loss = 0.5 if vantage == "panel" else 0.0
            return await super().packet(vantage, target, timeout_s)

    done = Simulation(Half(chance(7)), DEFAULTS).run(watched)
    assert done.downs() == []
    assert len(done.monitor.changes) <= 2


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("far_ms", [2, 120, 300, 400])
def test_of_two_nodes_of_three_that_die_at_once_none_is_taken_out(seed: int, far_ms: int) -> None:
    """The near one is missed by all before the panel has given the far one up."""

    async def killed(simulation: Simulation) -> None:
        await asyncio.sleep(20 + simulation.net.chance.random())
        simulation.net.dead |= {"n0", "n1"}
        await asyncio.sleep(5)
        assert simulation.monitor._outlook.frozen is not None  # noqa: SLF001 - what the API shows

    net = Net(chance(seed), rtt_s=lambda _, other: far_ms / 1000 if other == "n1" else 0.002, jitter=0.1)
    assert Simulation(net, DEFAULTS).run(killed).downs(alive=False) == []


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9])
def test_no_living_node_goes_down_that_gets_a_processor_now_and_then(share: float) -> None:
    done = Simulation(Net(chance(1), stands_s=starved(chance(2), share)), DEFAULTS).run(watched)
    assert done.downs() == []


@pytest.mark.parametrize("nodes", [2, 3, 10])
@pytest.mark.parametrize("seed", range(4))
def test_a_dead_node_is_down_in_less_than_half_a_second_on_a_good_network(nodes: int, seed: int) -> None:
    found: list[float | None] = []

    async def killed(simulation: Simulation) -> None:
        await asyncio.sleep(20 + simulation.net.chance.random())
        found.append(await detection_s(simulation, "n1", 10))

    Simulation(Net(chance(seed)), DEFAULTS, nodes=nodes).run(killed)
    assert found[0] is not None
    assert found[0] < 0.5


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_a_dead_node_is_found_where_packets_get_lost(loss: float) -> None:
    found: list[float | None] = []

    async def killed(simulation: Simulation) -> None:
        await asyncio.sleep(60)
        found.append(await detection_s(simulation, "n1", 30))

    Simulation(Net(chance(3), loss=loss), DEFAULTS, nodes=4).run(killed)
    assert found[0] is not None
    assert found[0] < 3


def test_a_cut_site_of_the_panel_and_a_node_takes_nobody_out_and_fences_nobody_when_it_is_mended() -> None:
    apart = [False]
    here = {"panel", "n0"}

    async def island(simulation: Simulation) -> None:
        await asyncio.sleep(20)
        apart[0] = True
        await asyncio.sleep(60)
        assert simulation.monitor._outlook.frozen is not None  # noqa: SLF001 - what the API shows
        apart[0] = False
        await asyncio.sleep(20)
        assert simulation.monitor._outlook.frozen is None  # noqa: SLF001 - what the API shows

    net = Net(chance(5), cut=lambda one, other: apart[0] and ((one in here) is not (other in here)))
    done = Simulation(net, DEFAULTS, nodes=10).run(island)
    assert done.downs() == []
    assert {row.standing.state for row in done.monitor.rows.values()} == {Health.SERVING}


@pytest.mark.parametrize("nodes", [2, 3])
def test_agents_of_0_1_0_probe_as_well(nodes: int) -> None:
    found: list[float | None] = []

    async def killed(simulation: Simulation) -> None:
        await asyncio.sleep(WATCHED_S)
        assert simulation.downs() == []
        simulation.net.loss = 0.0
        await asyncio.sleep(60)
        found.append(await detection_s(simulation, "n1", 10))

    Simulation(Net(chance(2), loss=0.2), DEFAULTS, nodes=nodes, features=frozenset()).run(killed)
    assert found[0] is not None
    assert found[0] < 2


@pytest.mark.parametrize("seed", range(3))
def test_the_node_beside_the_panels_machine_is_down_as_soon_with_a_witness_and_never_without(seed: int) -> None:
    found: list[float | None] = []

    async def killed(simulation: Simulation) -> None:
        await asyncio.sleep(20 + simulation.net.chance.random())
        found.append(await detection_s(simulation, "n1", 10))

    for witnesses in (("w0",), ()):
        Simulation(Net(chance(seed)), DEFAULTS, nodes=2, beside_panel=frozenset({"n0"}), witnesses=witnesses).run(
            killed
        )
    assert found[0] is not None
    assert found[0] < 1.1
    assert found[1] is None


@pytest.mark.parametrize("loss", [0.1, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_no_living_node_goes_down_for_loss_with_a_witness(loss: float, seed: int) -> None:
    net = Net(chance(seed), loss=loss, jitter=0.3)
    done = Simulation(net, DEFAULTS, nodes=2, beside_panel=frozenset({"n0"}), witnesses=("w0",)).run(watched)
    assert done.downs() == []


def test_what_a_witness_says_of_loss_delays_no_failover() -> None:
    found: list[float | None] = []

    async def killed(simulation: Simulation) -> None:
        await asyncio.sleep(180)
        found.append(await detection_s(simulation, "n1", 10))

    for liars in (set[str](), {"w0"}):
        Simulation(Net(chance(1), liars=liars), DEFAULTS, nodes=2, witnesses=("w0",)).run(killed)
    assert found[0] is not None
    assert found[1] is not None
    assert found[1] < found[0] + 0.1
