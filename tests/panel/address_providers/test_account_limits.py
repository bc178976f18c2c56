"""What an account may do is kept to: refusals hold for all its addresses and restarts, and routine leaves the rest."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.panel.world import World
from tests.providers.cloudflare.misbehaviour import Fault
from tests.providers.clouds.hetzner import SECRET, HetznerEnvironment, standing_in_for_hetzner
from wgfleet.panel import clock
from wgfleet.panel.dns.rate_limits import BURST_SHARE, RESERVED_SHARE, Limiter
from wgfleet.panel.domain.health.votes import Health, Standing
from wgfleet.panel.reconcile.floating import FloatingReconciler
from wgfleet.panel.services import configs, health
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.services.floating import views
from wgfleet.panel.services.floating.settings import FloatingSpec
from wgfleet.panel.store.tables import Config

ONE, OTHER = "203.0.113.10", "203.0.113.11"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One database will do: the rows are those of DNS accounts, which are tested on both."""
    return sqlite_url


@pytest.fixture
def cloud() -> Iterator[HetznerEnvironment]:
    with standing_in_for_hetzner() as made:
        yield made


def put(world: World, config: Config, cloud: HetznerEnvironment, address: str) -> None:
    options = {"token": SECRET, "api_url": cloud.stand_in.url, "servers": cloud.servers}
    with world.store.write() as tx:
        spec = EndpointGroupSpec(domain="vpn.example.com", floating=FloatingSpec([address], "hetzner", options))
        endpoint_groups.put(tx, world.vault, "test", configs.get(tx, config.id), spec)


def error(world: World, config: Config, address: str) -> str | None:
    with world.store.read() as tx:
        return views.view(tx, config, address).error


def test_a_refused_account_is_left_alone_by_all_its_addresses_and_after_a_restart(
    world: World, cloud: HetznerEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = clock.now()
    monkeypatch.setattr(clock, "now", lambda: begun)
    first, second = world.config(), world.config("wg1", pools=("10.9.0.0/24",))
    world.serving(first, "fra1")
    world.serving(second, "ams1")
    put(world, first, cloud, ONE)
    put(world, second, cloud, OTHER)
    cloud.stand_in.faults.add(Fault(kind="blocked", on="read", seconds=17))
    assert asyncio.run(FloatingReconciler(world.store, world.vault, {}).reconcile(first.id)) == 17
    assert "refuses more calls" in (error(world, first, ONE) or "")
    asked = len(cloud.stand_in.calls)
    assert asyncio.run(FloatingReconciler(world.store, world.vault, {}).reconcile(second.id)) == 17
    assert len(cloud.stand_in.calls) == asked, "nothing of the account is tried meanwhile"
    monkeypatch.setattr(clock, "now", lambda: begun + 18)
    for config, address in ((first, ONE), (second, OTHER)):
        asyncio.run(FloatingReconciler(world.store, world.vault, {}).reconcile(config.id))
        assert error(world, config, address) is None
        assert cloud.holder(address) is not None


def test_routine_leaves_calls_for_changes(
    world: World, cloud: HetznerEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = clock.now()
    monkeypatch.setattr(clock, "now", lambda: begun)
    config = world.config()
    fra1, _ = world.serving(config, "fra1", "ams1")
    put(world, config, cloud, ONE)
    reconciler = FloatingReconciler(world.store, world.vault, {})
    asyncio.run(reconciler.reconcile(config.id))
    account = cloud.provider().account
    assert asked_by(reconciler, config, cloud) > 0, "a look now and then finds what was moved by hand"
    Limiter(world.store, world.vault).charge(account, int(account.calls * BURST_SHARE * RESERVED_SHARE))
    assert asked_by(reconciler, config, cloud) == 0
    with world.store.write() as tx:
        health.record(tx, config.id, {fra1.id: Standing(Health.DOWN, clock.now(), "a test says so")})
    assert asked_by(reconciler, config, cloud) > 0
    assert cloud.holder(ONE) == cloud.nodes[1]


def asked_by(reconciler: FloatingReconciler, config: Config, cloud: HetznerEnvironment) -> int:
    before = len(cloud.stand_in.calls)
    asyncio.run(reconciler.reconcile(config.id))
    return len(cloud.stand_in.calls) - before
