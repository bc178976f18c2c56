"""Many names at once: few threads, and a name that changes does not wait for those that are only checked."""

import asyncio
import threading
import time

import pytest

from tests.panel.dns.desk import Desk
from wgfleet.panel import clock
from wgfleet.panel.domain.dns.target import SyncResult, Target
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.reconcile import dns as worker_module
from wgfleet.panel.store import dns as dns_rows

NAMES = 8
CALL_S = 0.3
DAY_S = 86400.0


def test_checks_of_many_names_take_few_threads_and_leave_room_for_a_change(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = []
    for number in range(NAMES):
        config = desk.world.config(f"wg{number}", pools=(f"10.{number}.0.0/24",))
        nodes = desk.world.serving(config, f"a{number}", f"b{number}")
        desk.publish(config, domain=f"vpn{number}.example.com")
        configs.append((config, nodes))
    desk.cycle()
    with desk.world.store.read() as tx:
        ids = dns_rows.ids(tx)
        changing = dns_rows.ids_of(tx, {configs[0][0].id})
    at = clock.now() + DAY_S
    monkeypatch.setattr(clock, "now", lambda: at)
    desk.judged(*configs[0][:1], configs[0][1][0], Health.DOWN)
    monkeypatch.setattr(worker_module, "CHECKS_AT_ONCE", 2)
    lock, running, most, called = threading.Lock(), 0, 0, []
    sync = desk.publisher.sync

    def slow(target: Target) -> SyncResult | None:
        nonlocal running, most
        with lock:
            called.append((target.name, target.routine))
            running += target.routine
            most = max(most, running)
        time.sleep(CALL_S)
        with lock:
            running -= target.routine
        return sync(target)

    monkeypatch.setattr(desk.publisher, "sync", slow)

    async def all_at_once() -> list[float | None]:
        rest = [sync_id for sync_id in ids if sync_id not in changing]
        return await asyncio.gather(*(desk.worker.reconcile(sync_id) for sync_id in [*rest, *changing]))

    waits = asyncio.run(all_at_once())
    assert most == 2
    assert ("vpn0.example.com", False) in called
    deferred = [wait for wait in waits if wait is not None and wait <= worker_module.CHECKS_WAIT_S]
    assert len(deferred) == NAMES - 1 - 2
    monkeypatch.setattr(desk.publisher, "sync", sync)
    desk.cycle()
    assert len(called) == 3
    for config, _ in configs:
        assert desk.sync(config).state == "synced"
