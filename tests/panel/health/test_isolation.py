"""What is wrong with one config keeps no other from being judged, and what was not written is not said to be."""

import asyncio
from collections.abc import Callable, Collection, Mapping

import pytest
import structlog
from sqlalchemy import update

from tests.panel.health.test_monitor import Network, monitor_on, on_paper, state, until
from tests.panel.world import World
from wgfleet.panel.domain.health.votes import Health, Standing
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.services import health as health_service
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config

Break = Callable[[World, Config, pytest.MonkeyPatch], None]


def refused_with(error: Exception) -> Break:
    def break_it(_world: World, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        real = health_service.record

        def record(tx: Tx, config_id: str, standings: Mapping[str, Standing], *, silent: Collection[str] = ()) -> None:
            real(tx, config_id, standings, silent=silent)
            if config_id == config.id:
                raise error

        monkeypatch.setattr(health_service, "record", record)

    return break_it


def key_damaged(world: World, config: Config, _monkeypatch: pytest.MonkeyPatch) -> None:
    with world.store.write() as tx:
        tx.session.execute(update(Config).where(Config.id == config.id).values(probe_private_key_sealed=b"damaged"))


def generation_at_its_end(world: World, config: Config, _monkeypatch: pytest.MonkeyPatch) -> None:
    with world.store.write() as tx:
        tx.session.execute(update(Config).where(Config.id == config.id).values(generation=2**63 - 1))


@pytest.mark.parametrize(
    "break_it",
    [
        refused_with(Unavailable("the row is locked")),
        refused_with(ValueError("a bug")),
        key_damaged,
        generation_at_its_end,
    ],
    ids=["locked", "bug", "damaged key", "generation at its end"],
)
def test_a_config_that_cannot_be_decided_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, break_it: Break
) -> None:
    configs = [world.config(name, pools=(f"10.{number}.0.0/24",)) for number, name in enumerate(("wg0", "wg1", "wg2"))]
    found = [world.node(name) for name in ("fra1", "ams1", "par1")]
    for config in configs:
        for node in found:
            world.assign(config, node)
            world.sync(config, node)
    break_it(world, configs[0], monkeypatch)
    network = Network(dead={f"192.0.2.1:{config.listen_port}" for config in configs})
    monitor = monitor_on(network, world, found, monkeypatch)

    async def watched() -> None:
        watching_them = monitor.start()
        try:
            await until(lambda: {state(world, config, found[0]) for config in configs[1:]} == {Health.DOWN})
            await asyncio.sleep(0.5)
        finally:
            await watching_them.stop()
            await asyncio.sleep(0.3)  # its last transaction is not cancelled with it

    with structlog.testing.capture_logs() as logs:
        on_paper(monkeypatch, watched)
    told = [line for line in logs if line["event"] == "health.changed" and line["after"] == "down"]
    down = [config.name for config in configs if state(world, config, found[0]) is Health.DOWN]
    assert sorted(line["config"] for line in told) == down, "only what was written, and once"
    assert len([line for line in logs if line["event"] == "health.undecided"]) <= 1
