"""A config's name at Cloudflare through the panel's own publisher: whose records count, and who is let near them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers.cloudflare.environment import SECRET, ZONE_ID
from tests.providers.cloudflare.zones import Zone
from tests.providers.publication import ACTOR, Panel, panel
from wgfleet.panel.domain.dns.records import mark
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs
from wgfleet.panel.services.dns import commands as published
from wgfleet.panel.services.dns.settings import DnsSpec
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.store.tables import Config

FOREIGN = "203.0.113.9"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Panel]:
    with panel(tmp_path) as opened:
        yield opened


@pytest.fixture
def config(at: Panel) -> Config:
    """A config that two nodes serve, and whose name is not published yet."""
    return at.publish(at.node("fra1"), at.node("ams1"))


def answers(at: Panel, config: Config) -> set[str]:
    """What a resolver would get."""
    return {address for address, _ in at.at.rows.answers(at.name(config), "A")}


def save(at: Panel, config: Config, spec: EndpointGroupSpec) -> None:
    with at.world.store.write() as tx:
        fresh = configs.get(tx, config.id)
        endpoint_groups.put(tx, at.world.vault, ACTOR, fresh, spec, at.publisher.plugins)


def test_a_proxied_record_of_somebody_else_stops_publishing_until_it_is_gone(at: Panel, config: Config) -> None:
    record_id = at.at.plant(at.name(config), "A", FOREIGN, proxied=True)
    assert at.converge(config) == SyncState.CONFLICT
    assert at.at.stand_in.writes == []
    del at.at.rows.records[record_id]
    assert at.converge(config) == SyncState.SYNCED
    assert answers(at, config) == {"198.51.100.1", "198.51.100.2"}


def test_a_record_of_ours_that_somebody_proxied_is_unproxied(at: Panel, config: Config) -> None:
    at.converge(config)
    row = next(row for row in at.at.rows.records.values() if row.name == at.name(config))
    row.proxied = True
    assert "198.51.100.1" not in answers(at, config)
    with at.counted() as counted:
        while not at.cycle(config):
            pass
    assert answers(at, config) == {"198.51.100.1", "198.51.100.2"}
    assert counted[0].writes == 1


def test_another_panel_on_the_name_is_seen_and_left_alone(at: Panel, config: Config) -> None:
    other = mark("another", config.id)
    at.at.plant(at.name(config), "A", FOREIGN, comment=other)
    assert at.converge(config) == SyncState.CONFLICT
    assert answers(at, config) == {FOREIGN}
    with at.world.store.read() as tx:
        (sync,) = published.of_config(tx, config.id)
    assert other in (sync.error or "")


def test_nodes_that_come_together_are_one_change(at: Panel, config: Config) -> None:
    at.converge(config)
    with at.counted() as counted:
        for number in range(20):
            at.serve(config, at.node(f"node{number}"))
        assert at.converge(config) == SyncState.SYNCED
    assert (counted[0].reads, counted[0].writes) == (2, 1)
    assert len(answers(at, config)) == 22


def test_a_group_that_cannot_work_is_refused_when_it_is_saved(at: Panel, config: Config) -> None:
    at.at.stand_in.api.zones["f" * 32] = Zone("f" * 32, "example.net")
    publisher = at.publisher

    def refused(zone: str, name: str) -> list[str]:
        options = {"token": SECRET, "api_url": at.at.stand_in.url, "timeout_s": 60}
        return [finding.subject for finding in publisher.refusals("cloudflare", zone, name, options, 120)]

    assert refused(ZONE_ID, at.name(config)) == []
    assert refused(ZONE_ID, "vpn.example.net") == ["zone"]
    assert refused("f" * 32, "vpn.example.net") == ["records"]
    at.at.token.status = "disabled"
    assert refused(ZONE_ID, at.name(config)) == ["token", "records"]
    with pytest.raises(Invalid, match="cloudflare takes 60 to 86400 s"):
        save(at, config, EndpointGroupSpec(domain="vpn.example.com", ttl=30, cloudflare_zone_id=ZONE_ID))


def test_a_groups_token_is_nowhere_in_the_clear(at: Panel, config: Config, tmp_path: Path) -> None:
    own = DnsSpec("cloudflare", ZONE_ID, options={"token": SECRET, "api_url": at.at.stand_in.url})
    save(at, config, EndpointGroupSpec(domain=at.name(config), dns=own))
    at.at.token.status = "disabled"
    at.cycle(config)
    at.at.token.status = "active"
    assert at.converge(config) == SyncState.SYNCED
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Invalid access token" in written
    assert SECRET.encode() not in written
