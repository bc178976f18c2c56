"""What is shed first where the panel cannot keep up: the traffic of users is written less often, and nothing else."""

import pytest

from tests.panel.agents.test_telemetry import Site
from tests.panel.world import World
from wgfleet.panel import clock
from wgfleet.panel.reconcile.agents.counter_pace import LASTS_S, LONGEST_S, SETTLES_S, STEADY_S, CounterPace
from wgfleet.panel.reconcile.agents.telemetry import TelemetryWriter
from wgfleet.panel.reconcile.lateness import COUNTERS_S
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.store.tables import PeerSession
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import Change, InterfaceReport
from wgfleet.protocol.observed import PeerStats


@pytest.mark.parametrize(
    "trouble", [{"took_s": 3.0, "decisions_late_s": 0.0}, {"took_s": 0.1, "decisions_late_s": 0.4}]
)
def test_the_pace_slows_while_there_is_trouble_and_quickens_when_there_is_none(trouble: dict[str, float]) -> None:
    pace, now, seen = CounterPace(), 1000.0, set()
    for _ in range(100):
        pace.note(now, **trouble)
        seen.add(pace.every_s)
        now += SETTLES_S / 2
    assert pace.every_s == LONGEST_S
    assert sorted(seen) == [COUNTERS_S * 2**power for power in range(4)], "it is seen what each brings"
    for expected in (4, 2, 1, 1):
        pace.note(now + STEADY_S / 2, 0.1, 0.0)
        now += STEADY_S + 1
        pace.note(now, 0.1, 0.0)
        assert pace.every_s == expected * COUNTERS_S


def test_trouble_that_passes_as_at_a_start_changes_nothing() -> None:
    pace, now = CounterPace(), 1000.0
    for _ in range(10):
        for second in range(int(LASTS_S) + int(SETTLES_S)):
            pace.note(now, 0.1, 0.4 if second < LASTS_S - 2 else 0.0)
            assert pace.every_s == COUNTERS_S
            now += 1
        now += 1


def test_counters_wait_their_latest_is_written_and_sessions_do_not_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [clock.monotonic()]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    monkeypatch.setattr(clock, "fraction", lambda: 0.0)
    site, outlook = Site(world, "ams1"), Outlook()
    site.writer = TelemetryWriter(world.store, site.lines, outlook)
    key = site.peers["ams1"].public_key

    def said(rx: int, port: int = 1) -> int:
        """Have the node report, and return what is in the rows then."""
        seen = {PublicKey(key): PeerStats(f"192.0.2.1:{port}", 100, rx, 0)}
        name, config_id = InterfaceName(site.config.name), ConfigId(site.config.id)
        report = InterfaceReport(name, config_id, Generation(1), True, "", peers=seen)
        site.say("ams1", Change(clock.now(), (report,)))
        site.flush()
        with world.store.read() as tx:
            row = tx.session.get(PeerSession, (site.peers["ams1"].id, site.nodes["ams1"].id))
            assert row is not None
            return row.rx

    for _ in range(8):
        for _ in range(20):
            outlook.decisions.decided(now[0] - 0.4, now[0])
        site.flush()
        now[0] += LASTS_S / 7
    assert said(1) == 1
    assert said(2) == 1
    assert outlook.report().late.counters_every_s == 2 * COUNTERS_S
    assert outlook.report().late.trouble == "the traffic of users is written every 120 s, so that the rest is in time"
    now[0] += COUNTERS_S + 1
    assert said(3) == 1, "at the usual pace it would be written now"
    assert said(4, port=2) == 4, "where a client is found does not wait"
    assert said(5, port=2) == 4
    now[0] += COUNTERS_S + 1
    assert said(6, port=2) == 6
    now[0] += 10 * STEADY_S
    said(7)
    now[0] += STEADY_S + 1
    said(8)
    assert outlook.report().late.trouble is None
