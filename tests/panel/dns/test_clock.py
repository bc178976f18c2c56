"""A wall clock that is set back: what was written by it in what is the future now does no harm."""

import pytest

from tests.panel.dns.desk import NAME, Desk, Hands
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.errors import TransientError
from wgfleet.panel.services.dns import commands
from wgfleet.panel.store.tables import Config

DAY_S = 86_400


def test_an_unchanged_name_is_looked_at_within_the_interval_all_the_same(desk: Desk, wg0: Config, hands: Hands) -> None:
    desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0)
    desk.cycle()
    hands.move(-DAY_S)
    desk.zone.put(NAME)
    desk.cycle()
    assert len(desk.zone.at(NAME)) == 2


def test_a_name_that_fails_is_tried_again_all_the_same(desk: Desk, wg0: Config, hands: Hands) -> None:
    desk.world.serving(wg0, "fra1")

    def down() -> None:
        raise TransientError("no answer", retry_after_s=10**9)

    desk.zone.before["read"] = down
    desk.publish(wg0)
    desk.cycle()
    desk.zone.before.clear()
    waits = (desk.sync(wg0).next_try_at or 0) - desk.sync(wg0).decided_at
    assert waits == pytest.approx(3600, abs=60), "what a provider asks for has its bounds too"
    hands.move(-DAY_S)
    desk.cycle()
    assert desk.sync(wg0).state == SyncState.SYNCED


@pytest.mark.parametrize("drift", ["repair", "report"])
def test_what_is_decided_then_is_a_decision_and_nobody_elses_doing(
    desk: Desk, wg0: Config, hands: Hands, drift: str
) -> None:
    fra1, _ = desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0, drift=drift)
    desk.cycle()
    hands.move(-DAY_S)
    desk.judged(wg0, fra1, Health.DOWN)
    desk.cycle()
    assert desk.zone.at(NAME) == {"192.0.2.2"}
    sync = desk.sync(wg0)
    assert (sync.state, sync.published_at is not None and sync.published_at >= sync.decided_at) == (
        SyncState.SYNCED,
        True,
    )
    assert desk.history(wg0, "dns_drifted") == []
    assert desk.history(wg0, "dns_updated")[-1].details["seconds"] >= 0


def test_reported_drift_is_repaired_when_somebody_retries(desk: Desk, wg0: Config, hands: Hands) -> None:
    desk.world.serving(wg0, "fra1", "ams1")
    desk.publish(wg0, drift="report")
    desk.cycle()
    hands.move(-DAY_S)
    desk.zone.put(NAME)
    with desk.world.store.write() as tx:
        commands.retry(tx, "test", wg0.name)
    desk.cycle()
    assert (len(desk.zone.at(NAME)), desk.sync(wg0).state) == (2, SyncState.SYNCED)
