"""Networks behind peers of one config never take packets from users of another one, nor from its sites."""

import pytest

from tests.panel.world import ACTOR, World
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import configs
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import assignments, nodes, peers, pool_changes
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.store.tables import Config

SITE = "192.168.7.0/24"


def site(world: World, config: Config, *networks: str, name: str = "office") -> None:
    drafts = peers.draft(world.vault, [PeerSpec(name, networks=networks)])
    with world.store.write() as tx:
        peers.create(tx, ACTOR, configs.get(tx, config.id), drafts)


@pytest.fixture
def both(world: World) -> tuple[Config, Config]:
    """Return two configs, both on node `one`, the first on `two` as well."""
    first, second = world.config(pools=("10.8.0.0/16",)), world.config("wg1", pools=("10.9.0.0/16",))
    one, _ = world.serving(first, "one", "two")
    world.assign(second, one)
    return first, second


@pytest.mark.parametrize("network", ["10.8.200.0/24", "10.0.0.0/8", "10.8.0.5/32"])
def test_a_network_inside_or_around_a_pool_of_another_config_is_refused(
    world: World, both: tuple[Config, Config], network: str
) -> None:
    with pytest.raises(Conflict, match="pool of config") as refused:
        site(world, both[1], SITE, network)
    assert refused.value.field == "networks[1]"
    peer = world.peers(both[1], "plain")[0]
    with world.store.write() as tx, pytest.raises(Conflict, match="pool of config"):
        peers.update(tx, world.vault, ACTOR, peers.get(tx, peer.id), {"networks": [network]})


def test_the_same_site_of_two_configs_on_one_node_is_refused(world: World, both: tuple[Config, Config]) -> None:
    site(world, both[0], SITE)
    with pytest.raises(Conflict, match="peer 'office' of config 'wg0'"):
        site(world, both[1], "192.168.0.0/16", name="branch")


def test_sites_of_configs_that_share_no_node_may_be_the_same_until_they_are_to(world: World) -> None:
    first, second = world.config(pools=("10.8.0.0/16",)), world.config("wg1", pools=("10.9.0.0/16",))
    one, _ = world.serving(first, "one", "two")
    (three,) = world.serving(second, "three")
    site(world, first, SITE)
    site(world, second, SITE, name="branch")
    with world.store.write() as tx, pytest.raises(Conflict, match="has one route for both"):
        assignments.assign(tx, world.vault, ACTOR, configs.get(tx, second.id), nodes.get(tx, one.id))
    with world.store.write() as tx, pytest.raises(Conflict, match="whose peer 'branch'"):
        assignments.assign(tx, world.vault, ACTOR, configs.get(tx, first.id), nodes.get(tx, three.id))


def test_a_pool_inside_a_site_of_another_config_is_refused(world: World, both: tuple[Config, Config]) -> None:
    site(world, both[0], SITE)
    with world.store.write() as tx, pytest.raises(Conflict, match="behind peer 'office' of config 'wg0'"):
        configs.create(tx, world.vault, ACTOR, ConfigSpec("wg2", "cluster", ("192.168.7.128/25",)))
    with world.store.write() as tx, pytest.raises(Conflict, match="behind peer 'office' of config 'wg0'"):
        pool_changes.planned(tx, configs.get(tx, both[1].id), ["10.9.0.0/16", "192.168.0.0/16"])
