"""A cloud's addresses are on the loopback of the node that the cloud leads them to, which calls clients from there."""

from typing import Any

import pytest

from tests.panel.floating.test_holders import A1, A2, becomes, put
from tests.panel.floating.test_routed import knows
from tests.panel.world import World
from wgfleet.panel.address_providers import AddressProviderType, plugins
from wgfleet.panel.address_providers.aws import Aws
from wgfleet.panel.address_providers.digitalocean import DigitalOcean
from wgfleet.panel.address_providers.hetzner import Hetzner
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services import configs
from wgfleet.panel.services.floating import views
from wgfleet.panel.services.moves import takeover_sources
from wgfleet.panel.store.tables import Config, Node
from wgfleet.protocol import features
from wgfleet.protocol.desired import FloatingSettings

OPTIONS = {"token": "of-a-cloud-that-is-not-called"}
KEPT = features.ALL - {features.Feature.ROUTED_ADDRESSES}


def settings(world: World, config: Config, node: Node) -> FloatingSettings | None:
    return world.agents[node.id, config.id].settings.floating


def test_the_holder_has_it_for_good_and_the_next_one_calls_from_it(world: World) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    knows(world, features.ALL, fra1, ams1)
    put(world, config, A1, provider=Hetzner.name, options=OPTIONS)
    world.sync_all(config, fra1, ams1)
    found = settings(world, config, fra1)
    assert found is not None
    assert (found.addresses, found.bound, found.routed, found.witnesses) == ((A1,), True, False, ())
    assert settings(world, config, ams1) is None
    becomes(world, config, fra1, Health.DOWN)
    world.sync(config, ams1)
    next_one = settings(world, config, ams1)
    assert next_one is not None
    assert (next_one.addresses, next_one.bound) == ((A1,), True)
    with world.store.read() as tx:
        source = takeover_sources.of_config(tx, world.vault, config.id).choose(fra1.id, "192.0.2.200:1024", 0, None)
        assert views.view(tx, config, A1).conflict is None, "fra1 may have it as long as it likes"
    assert source is not None
    assert (source.node_id, source.address) == (ams1.id, A1)


@pytest.mark.parametrize(("kind", "known"), [(DigitalOcean, features.ALL), (Hetzner, KEPT)])
def test_where_the_cloud_translates_it_or_the_agent_is_older_it_is_on_no_machine(
    world: World, kind: AddressProviderType, known: frozenset[features.Feature]
) -> None:
    assert plugins.installed().find(kind.name) is kind
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    knows(world, known, fra1, ams1)
    put(world, config, A1, provider=kind.name, options=OPTIONS)
    world.sync_all(config, fra1, ams1)
    assert settings(world, config, fra1) is None
    becomes(world, config, fra1, Health.DOWN)
    with world.store.read() as tx:
        source = takeover_sources.of_config(tx, world.vault, config.id).choose(fra1.id, "192.0.2.200:1024", 0, None)
    assert source is None or source.address is None


def generation(world: World, config: Config) -> int:
    with world.store.read() as tx:
        return configs.get(tx, config.id).generation


AWS = {
    "access_key_id": "A" * 16,
    "token": "of-a-cloud-that-is-not-called",
    "region": "eu-central-1",
    "instances": {"fra1": "i-00000001", "ams1": "i-00000002"},
    "private_addresses": {"fra1": ["10.0.1.11"], "ams1": ["10.0.2.11", "10.0.2.12"]},
}


@pytest.mark.parametrize(
    ("kind", "options", "sources"),
    [
        (DigitalOcean, {**OPTIONS, "anchor_addresses": {"fra1": "10.19.0.5", "ams1": "10.19.0.6"}}, ["10.19.0.6"]),
        (Aws, AWS, ["10.0.2.12", "10.0.2.11"]),
    ],
)
def test_where_the_cloud_translates_it_clients_are_called_from_what_it_is_translated_to(
    world: World, kind: AddressProviderType, options: dict[str, Any], sources: list[str]
) -> None:
    config = world.config()
    fra1, ams1 = world.serving(config, "fra1", "ams1")
    knows(world, features.ALL, fra1, ams1)
    put(world, config, A1, A2, provider=kind.name, options=options)
    world.sync_all(config, fra1, ams1)
    found = settings(world, config, fra1)
    assert found is not None
    assert (found.addresses, len(found.translated), found.witnesses) == ((), 1, ())
    becomes(world, config, fra1, Health.DOWN)
    world.sync(config, ams1)

    def asked(attempts: int) -> str | None:
        with world.store.read() as tx:
            source = takeover_sources.of_config(tx, world.vault, config.id).choose(
                fra1.id, "192.0.2.200:1024", attempts, None
            )
        assert source is not None
        return source.address

    assert [asked(attempt) for attempt in range(len(sources))] == sources, "the newest first"
    knows(world, features.ALL - {features.Feature.TRANSLATED_ADDRESSES}, ams1)
    assert asked(0) is None, "its agent would refuse the call"
    before = generation(world, config)
    option = next(key for key in options if key.endswith("_addresses"))
    put(world, config, A1, A2, provider=kind.name, options={**options, option: {"ams1": options[option]["fra1"]}})
    assert generation(world, config) > before, "agents have to hear of it"
