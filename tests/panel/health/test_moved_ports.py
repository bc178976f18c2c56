"""A node that is to listen at another port is missed where it is not yet, and that says nothing."""

from types import SimpleNamespace
from typing import cast

import pytest

from tests.panel.health.network import DEFAULTS
from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import PANEL, Health
from wgfleet.panel.reconcile.probes import Probes
from wgfleet.panel.services.health import Probed
from wgfleet.protocol.ids import NodeId

MEMBER = ("wg0", NodeId("fra1"))


def at(port: int) -> Probed:
    endpoint = f"192.0.2.1:{port}"
    return cast(
        "Probed",
        SimpleNamespace(endpoint=endpoint, endpoints=(endpoint,), standing=SimpleNamespace(state=Health.SERVING)),
    )


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])
    return time


def failures(probes: Probes, now: list[float], seconds: float) -> int:
    """Miss a node from here and from another one for some time; return what is held against it."""
    for _ in range(int(seconds * 10)):
        now[0] += 0.1
        for vantage in (PANEL, "ams1"):
            probes.seen.doubted(MEMBER, now[0])
            probes.seen.missed(vantage, MEMBER, now[0])
    return sum(verdict.doubts for verdict in probes.seen.verdicts(MEMBER))


@pytest.mark.parametrize("port", [51820, 51999])
def test_only_where_its_port_has_changed_nothing_is_held_against_it_until_it_had_time(
    now: list[float], port: int
) -> None:
    probes = Probes(DEFAULTS, {})
    probes.watch({MEMBER: at(51820)})
    probes.seen.answered(PANEL, MEMBER, now[0], 0.01)
    failures(probes, now, 0.2)  # where its agent heard of it before the watch did
    probes.watch({MEMBER: at(port)})
    assert (failures(probes, now, 3) == 0) is (port != 51820)
    assert failures(probes, now, 4) > 0


def test_what_answers_there_is_missed_at_once_when_it_dies(now: list[float]) -> None:
    probes = Probes(DEFAULTS, {})
    probes.watch({MEMBER: at(51820)})
    sent_at = now[0]
    now[0] += 0.01
    probes.watch({MEMBER: at(51999)})
    probes.seen.answered(PANEL, MEMBER, sent_at, 0.02)
    assert failures(probes, now, 0.5) == 0, "that was the old port"
    probes.seen.answered(PANEL, MEMBER, now[0], 0.01)
    assert failures(probes, now, 0.5) > 0
