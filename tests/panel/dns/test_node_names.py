"""Each node of an independent config has a name of its own: from when it serves until it has left."""

from typing import Any

import pytest

from tests.panel.dns.desk import Desk
from tests.panel.world import ACTOR
from tests.providers.knot import KEY, knot
from tests.waiting import eventually
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.dns.providers.rfc2136 import Rfc2136
from wgfleet.panel.domain.dns.node_names import node_names
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.moves import MoveStep
from wgfleet.panel.errors import Invalid, NotFound
from wgfleet.panel.services import configs
from wgfleet.panel.services.clients import files
from wgfleet.panel.services.dns import commands, desired, published_names
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.services.fleet import assignments, endpoint_groups, nodes, peers
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.services.floating.settings import FloatingSpec
from wgfleet.panel.store.tables import Config, Node, Operation

DOMAIN = "vpn.example.com"


@pytest.fixture
def wg1(desk: Desk) -> Config:
    return desk.world.config("wg1", "independent", ("10.9.0.0/24",))


def at(desk: Desk, node: str) -> set[str]:
    return desk.zone.at(f"{node}.{DOMAIN}")


def hear(desk: Desk, config: Config) -> None:
    """Have the worker hear that something is different about a config, and sync its names."""
    desk.worker.concerned([config.id], [], [])
    desk.cycle()


def leave(desk: Desk, config: Config, node: Node, other: Node, operation: Operation | None = None) -> None:
    """Have a node leave a config, and the worker hear of it."""
    removal = operation or desk.world.remove(config, node)
    for _ in range(20):
        if desk.world.step(removal) is MoveStep.DONE:
            break
        desk.world.sync_all(config, node, other)
    hear(desk, config)
    hear(desk, config)


def test_each_node_that_serves_has_a_name_and_files_say_it(either_desk: Desk) -> None:
    desk = either_desk
    wg1 = desk.world.config("wg1", "independent", ("10.9.0.0/24",))
    desk.world.serving(wg1, "fra1", "Ber1")
    desk.publish(wg1)
    desk.cycle()
    assert (at(desk, "fra1"), at(desk, "ber1")) == ({"192.0.2.1"}, {"192.0.2.2"})
    assert desk.zone.at(DOMAIN) == set()
    (peer,) = desk.world.peers(wg1, "anna")
    with desk.world.store.write() as tx:
        texts = {each.node_name: each.text for each in files.files(tx, desk.world.vault, ACTOR, peers.get(tx, peer.id))}
        listed = assignments.listing(tx, wg1.id)
    assert f"Endpoint = fra1.{DOMAIN}:51820" in texts["fra1"]
    assert f"Endpoint = ber1.{DOMAIN}:51820" in texts["Ber1"]
    assert all(each.unpublished is None for each in listed)


def test_a_node_that_comes_later_gets_a_name_as_it_serves(desk: Desk, wg1: Config) -> None:
    desk.world.serving(wg1, "fra1")
    desk.publish(wg1)
    desk.cycle()
    ber1 = desk.world.node("ber1")
    desk.world.assign(wg1, ber1)
    hear(desk, wg1)
    assert at(desk, "ber1") == set(), "it does not serve yet"
    desk.world.sync(wg1, ber1)
    hear(desk, wg1)
    assert at(desk, "ber1") == {"192.0.2.2"}
    hear(desk, wg1)
    assert len(desk.syncs(wg1)) == 2


def test_the_worker_of_a_panel_hears_of_it_by_itself(desk: Desk, wg1: Config) -> None:
    desk.world.serving(wg1, "fra1")
    desk.publish(wg1)
    with desk.working():
        eventually(lambda: at(desk, "fra1") == {"192.0.2.1"})
        desk.world.serving(wg1, "ber1")
        eventually(lambda: at(desk, "ber1") == {"192.0.2.2"})


def test_a_name_goes_after_its_node_has_left_and_the_removal_does_not_wait_for_it(desk: Desk, wg1: Config) -> None:
    fra1, ber1 = desk.world.serving(wg1, "fra1", "ber1")
    desk.publish(wg1)
    desk.cycle()
    operation = desk.world.remove(wg1, fra1)
    hear(desk, wg1)
    assert at(desk, "fra1") == {"192.0.2.1"}, "its files lead to it until it has left"
    with desk.world.store.read() as tx:
        assert desired.withdrawn_at(tx, wg1.id, fra1.endpoint_addresses) == 0.0
    leave(desk, wg1, fra1, ber1, operation)
    assert (at(desk, "fra1"), at(desk, "ber1")) == (set(), {"192.0.2.2"})
    assert [sync.name for sync in desk.syncs(wg1)] == [f"ber1.{DOMAIN}"]


def test_a_name_is_never_empty(desk: Desk, wg1: Config) -> None:
    fra1, _ = desk.world.serving(wg1, "fra1", "ber1")
    desk.publish(wg1)
    desk.cycle()
    desk.judged(wg1, fra1, Health.DOWN)
    hear(desk, wg1)
    assert at(desk, "fra1") == {"192.0.2.1"}


def test_a_node_that_has_another_address_or_name_is_followed(desk: Desk, wg1: Config) -> None:
    (fra1,) = desk.world.serving(wg1, "fra1")
    desk.publish(wg1)
    desk.cycle()
    with desk.world.store.write() as tx:
        node = nodes.update(tx, ACTOR, nodes.get(tx, fra1.id), {"name": "ffm1"})
        (said,) = published_names.of_renamed(tx, node, "fra1")
        assert f"say fra1.{DOMAIN}, and no longer lead to it" in said
        assert published_names.of_renamed(tx, node, "ffm1") == []
    hear(desk, wg1)
    hear(desk, wg1)
    assert (at(desk, "fra1"), at(desk, "ffm1")) == (set(), {"192.0.2.1"})


def test_names_go_with_the_domain(desk: Desk, wg1: Config) -> None:
    desk.world.serving(wg1, "fra1")
    desk.publish(wg1)
    desk.cycle()
    desk.unpublish(wg1)
    desk.cycle()
    assert at(desk, "fra1") == set()
    assert desk.syncs(wg1) == []


def test_what_a_domain_of_nodes_cannot_have_is_refused_with_its_field(desk: Desk, wg1: Config) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "domain": {"domain": "192.0.2.1"},
        "port": {"port": 4443},
        "floating_addresses": {"floating": FloatingSpec(["203.0.113.7"])},
    }
    for field, values in wrong.items():
        with pytest.raises(Invalid) as refused:
            desk.publish(wg1, **values)
        assert refused.value.field == field


def test_nodes_whose_names_are_none_of_dns_have_none() -> None:
    named = [("1", "fra1"), ("2", "FRA1"), ("3", "a..b"), ("4", "x_y"), ("5", "a.-b")]
    assert node_names(named, DOMAIN) == {"1": f"fra1.{DOMAIN}", "4": f"x_y.{DOMAIN}"}


def test_a_panel_that_was_killed_before_it_heard_begins_the_name_later(desk: Desk, wg1: Config) -> None:
    desk.world.serving(wg1, "fra1")
    desk.publish(wg1)
    desk.world.serving(wg1, "ber1")
    desk.restart()
    with desk.working():
        eventually(lambda: at(desk, "ber1") == {"192.0.2.2"})


@pytest.mark.servers
def test_a_server_has_the_names_of_the_nodes_as_long_as_they_are_there(desk: Desk) -> None:
    with knot() as server:
        desk.plugins = DnsPlugins({"rfc2136": Rfc2136})
        desk.restart()
        world, domain = desk.world, f"vpn.{server.zone}"
        wg1 = world.config("wg1", "independent", ("10.9.0.0/24",))
        fra1, ber1 = world.serving(wg1, "fra1", "ber1")
        options = {"server": "127.0.0.1", "port": server.port, "key_name": KEY, "key_secret": server.secret}
        spec = EndpointGroupSpec(domain, dns=DnsSpec("rfc2136", server.zone, options=options))
        with world.store.write() as tx:
            endpoint_groups.put(tx, world.vault, ACTOR, configs.get(tx, wg1.id), spec, desk.plugins)
        desk.cycle()
        assert server.records(f"fra1.{domain}") == {("A", "192.0.2.1", 60)}
        assert server.records(f"ber1.{domain}") == {("A", "192.0.2.2", 60)}
        leave(desk, wg1, fra1, ber1)
        assert server.records(f"fra1.{domain}") == set()
        assert server.records(f"_wgfleet.fra1.{domain}") == set()
        assert server.records(f"ber1.{domain}") == {("A", "192.0.2.2", 60)}


def test_one_of_several_names_is_chosen(desk: Desk, wg1: Config) -> None:
    desk.publish(wg1)
    with desk.world.store.read() as tx, pytest.raises(NotFound, match="no node of config 'wg1' serves"):
        commands.of_config(tx, "wg1")
    desk.world.serving(wg1, "fra1", "ber1")
    desk.publish(wg1)
    with desk.world.store.read() as tx:
        assert commands.current(tx, "wg1", f"ber1.{DOMAIN}").name == f"ber1.{DOMAIN}"
        with pytest.raises(Invalid, match=f"ber1.{DOMAIN}, fra1.{DOMAIN}; say which"):
            commands.current(tx, "wg1")
        with pytest.raises(NotFound, match="has no name lon1"):
            commands.current(tx, "wg1", "lon1")
