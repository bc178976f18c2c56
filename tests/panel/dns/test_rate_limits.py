"""The rate limit of a provider's account: kept over restarts, shared by its names, and first of all for changes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.panel.dns.desk import Desk, Hands
from tests.panel.world import ACTOR
from wgfleet.panel.dns.providers import Account, Blocked
from wgfleet.panel.dns.rate_limits import Limiter
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services.dns import commands
from wgfleet.panel.store.tables import Config


def test_all_names_of_an_account_share_its_limit(either_desk: Desk, hands: Hands) -> None:
    desk = either_desk
    account = Account("one", calls=20, window_s=100)
    limiter = Limiter(desk.world.store, desk.world.vault)
    for _ in range(10):
        limiter.take(account)
    with pytest.raises(Blocked) as caught:
        Limiter(desk.world.store, desk.world.vault).take(account)
    assert caught.value.retry_after_s == pytest.approx(10, abs=1)
    limiter.take(Account("another", calls=20, window_s=100))
    hands.move(10.5)
    limiter.take(account)
    with pytest.raises(Blocked):
        limiter.take(account)


def test_a_clock_that_is_set_back_blocks_no_account_for_a_day(desk: Desk, hands: Hands) -> None:
    account = Account("one", calls=20, window_s=100)
    limiter = Limiter(desk.world.store, desk.world.vault)
    limiter.block(account, 300)
    with pytest.raises(Blocked):
        limiter.take(account)
    hands.move(-86_400)
    limiter.take(account)


def test_a_clock_that_is_set_back_keeps_no_bucket_empty(desk: Desk, hands: Hands) -> None:
    account = Account("one", calls=20, window_s=100)
    limiter = Limiter(desk.world.store, desk.world.vault)
    for _ in range(10):
        limiter.take(account)
    hands.move(-86_400)
    with pytest.raises(Blocked):
        limiter.take(account)
    hands.move(10.5)
    limiter.take(account)


@pytest.mark.parametrize(("asked", "waits"), [(0.0, 1), (-5.0, 1), (None, 60), (1e9, 3600)])
def test_a_provider_can_neither_have_itself_asked_all_the_time_nor_never_again(
    desk: Desk, hands: Hands, asked: float | None, waits: float
) -> None:
    account = Account("one")
    limiter = Limiter(desk.world.store, desk.world.vault)
    assert limiter.block(account, asked) == waits
    hands.move(waits - 0.5)
    with pytest.raises(Blocked):
        limiter.take(account)
    hands.move(0.6)
    limiter.take(account)


def test_the_first_calls_of_an_account_may_come_at_once(either_desk: Desk) -> None:
    limiters = [Limiter(either_desk.world.store, either_desk.world.vault) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            account = Account(f"account {number}", calls=20, window_s=1e6)
            start = threading.Barrier(8)

            def take(limiter: Limiter, account: Account = account, start: threading.Barrier = start) -> None:
                start.wait()
                limiter.take(account)

            list(pool.map(take, limiters * 4))
            for _ in range(2):
                limiters[0].take(account)
            with pytest.raises(Blocked):
                limiters[0].take(account)


def test_no_window_sees_more_calls_than_are_allowed(desk: Desk, hands: Hands) -> None:
    account = Account("one", calls=60, window_s=60)
    limiter, made = Limiter(desk.world.store, desk.world.vault), []
    for second in range(120):
        while True:
            try:
                limiter.take(account)
            except Blocked:
                break
            made.append(second)
        hands.move(1)
    assert max(sum(start <= second < start + 60 for second in made) for start in range(60)) <= 60


def test_looks_at_names_that_are_right_leave_calls_to_changes(either_desk: Desk, hands: Hands) -> None:
    desk = either_desk
    desk.zone.limit = Account("one", calls=40, window_s=1e6)
    found = [desk.world.config(f"wg{number}", pools=(f"10.{number}.0.0/24",)) for number in range(1, 3)]
    nodes = []
    for number, config in enumerate(found):
        nodes.append(desk.world.serving(config, f"fra{number}", f"ams{number}")[0])
        desk.publish(config, domain=f"vpn{number}.example.com")
    for _ in range(30):
        desk.cycle()
        hands.move(desk.rules.check_interval_s)
    assert desk.zone.calls["read"] + desk.zone.calls["apply"] == 10, "half of what may be used at once is left"
    for config, node in zip(found, nodes, strict=True):
        desk.judged(config, node, Health.DOWN)
    desk.cycle()
    assert [desk.sync(config).state for config in found] == [SyncState.SYNCED, SyncState.SYNCED]
    assert desk.zone.calls["apply"] == 4
    assert desk.audited("dns_failing") == []
    hands.move(1e6)
    desk.cycle()
    assert desk.zone.calls["read"] + desk.zone.calls["apply"] == 18, "read again once there are calls"


def test_a_look_that_somebody_asked_for_is_not_put_off(desk: Desk, wg0: Config, hands: Hands) -> None:
    desk.zone.limit = Account("one", calls=12, window_s=1e6)
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()
    hands.move(desk.rules.check_interval_s + 1)
    desk.cycle()
    reads = desk.zone.calls["read"]
    with desk.world.store.write() as tx:
        commands.retry(tx, ACTOR, wg0.id)
    desk.cycle()
    assert (desk.zone.calls["read"], desk.sync(wg0).state) == (reads + 1, SyncState.SYNCED)


def test_a_name_that_is_right_does_not_fail_by_a_block_that_another_met(desk: Desk, wg0: Config, hands: Hands) -> None:
    desk.world.serving(wg0, "fra1")
    desk.publish(wg0)
    desk.cycle()
    Limiter(desk.world.store, desk.world.vault).block(desk.zone.limit, 300)
    hands.move(desk.rules.check_interval_s + 1)
    desk.cycle()
    assert desk.sync(wg0).state == SyncState.SYNCED


def test_an_account_without_a_known_limit_is_asked_again_after_a_block(either_desk: Desk, hands: Hands) -> None:
    account, limiter = Account("one"), Limiter(either_desk.world.store, either_desk.world.vault)
    assert limiter.allows_routine(account)
    limiter.block(account, 10)
    assert not limiter.allows_routine(account)
    hands.move(11)
    assert limiter.allows_routine(account)
    limiter.take(account)
