import re
from collections.abc import Iterator

import pytest

from wgfleet.lab import state, weather
from wgfleet.lab.hosts import Host
from wgfleet.lab.waiting import wait_for
from wgfleet.lab.weather import Weather

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[state.Lab]:
    with state.temporary("pytestweather", nodes=2, clients=1) as built:
        yield built


def round_trips_ms(host: Host, address: str, count: int = 5) -> list[float]:
    said = host.run("ping", "-n", "-c", str(count), "-i", "0.02", "-W", "3", address, check=False)
    return [float(found) for found in re.findall(r"time=([\d.]+) ms", said)]


PAIRS = [("client-1", "node-1"), ("panel", "node-2"), ("node-1", "node-2"), ("node-1", "client-1")]


def test_round_trips_take_longer_everywhere_and_not_any_more_when_the_weather_is_over(lab: state.Lab) -> None:
    with weather.over(lab, Weather(delay_ms=80, jitter_ms=40)):
        for source, target in PAIRS:
            found = round_trips_ms(lab.host(source), lab.host(target).address)
            assert len(found) == 5
            assert min(found) >= 80
    for source, target in PAIRS:
        assert min(round_trips_ms(lab.host(source), lab.host(target).address)) < 80


def test_packets_get_lost_everywhere_and_not_any_more_when_the_weather_is_over(lab: state.Lab) -> None:
    with weather.over(lab, Weather(loss=30)):
        for source, target in PAIRS:
            # About a half comes back: none or all of 20 once in 100,000 times.
            assert 0 < len(round_trips_ms(lab.host(source), lab.host(target).address, 20)) < 20
    for source, target in PAIRS:
        assert len(round_trips_ms(lab.host(source), lab.host(target).address)) == 5


def stopped(host: Host, pid: int) -> bool:
    return "T (stopped)" in host.run("cat", f"/proc/{pid}/status")


def test_a_starved_node_stands_still_and_runs_again_when_the_weather_is_over(lab: state.Lab) -> None:
    node = lab.host("node-1")
    node.start(["sleep", "1000"], "sleep")
    (pid,) = wait_for(lambda: node.find("sleep 1000"), "it was not started", within_s=30)
    with weather.over(lab, Weather(starve=50)):
        wait_for(lambda: stopped(lab.host("node-2"), pid), "it is not stopped", within_s=30, every_s=0)
        wait_for(lambda: not stopped(lab.host("node-2"), pid), "it never runs", within_s=30, every_s=0)
    assert not stopped(node, pid)
    node.kill_all()
