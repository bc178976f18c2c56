"""Options of the clouds' providers: what can never work is refused by its field, in words that say what would do."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from wgfleet.panel.address_providers import plugins
from wgfleet.panel.dns.plugins import DnsPlugins
from wgfleet.panel.errors import Invalid

TOKEN = {"token": "t" * 20}
UUIDS = ["4f0f12e5-1f84-404f-aa84-85f431ea5ec2", "4f0f12e5-1f84-404f-aa84-85f431ea5ec3"]
AWS = TOKEN | {
    "access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "region": "eu-central-1",
    "instances": {"fra1": "i-0123456789abcdef0"},
    "private_addresses": {"fra1": ["172.31.0.5"]},
}
URLS = {
    "": "is empty",
    "http://[::1": "is no URL",
    "http://": "names no host",
    "https://:443/": "names no host",
    "https://a:0": "names no host",
    "https://api.example:99999": "is no URL",
    "https://me:secret@api.example": "must be without a user and a password",
    "gopher://api.example": "must begin with https:// or http://",
    "file:///etc/passwd": "must begin with https:// or http://",
    "127.0.0.1:9100": "must begin with https:// or http://",
    "https://api.example/?a=1": "must be without ? and #",
    "https://api.example/#a": "must be without ? and #",
    "https://api.example/a b": "has a space or a control character",
}


def refused(provider: str, options: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(Invalid) as failure:
        plugins.AddressPlugins.installed().canonical(provider, options)
    assert failure.value.field is not None
    return failure.value.field.removeprefix("address_options."), failure.value.detail


@pytest.mark.parametrize("provider", ["hetzner", "digitalocean", "vultr", "aws"])
@pytest.mark.parametrize("url", URLS)
def test_an_api_url_that_can_be_none_is_refused_by_what_is_wrong_with_it(provider: str, url: str) -> None:
    if (provider, url) == ("aws", ""):
        assert plugins.AddressPlugins.installed().canonical("aws", AWS | {"api_url": ""})["api_url"] == ""
        return
    options = AWS if provider == "aws" else TOKEN
    field, detail = refused(provider, options | {"api_url": url})
    assert field == "api_url"
    assert detail.startswith(URLS[url])
    assert "secret" not in detail


@pytest.mark.parametrize("url", URLS)
def test_so_is_cloudflares(url: str) -> None:
    with pytest.raises(Invalid) as failure:
        DnsPlugins.installed().canonical("cloudflare", TOKEN | {"api_url": url})
    assert (failure.value.field or "").endswith("api_url")
    assert failure.value.detail.startswith(URLS[url])


@pytest.mark.parametrize(
    ("provider", "options", "field", "said"),
    [
        ("hetzner", {"servers": {"fra1": 0}}, "servers.fra1", "must be more than 0"),
        ("hetzner", {"servers": {"fra1": -7}}, "servers.fra1", "must be more than 0"),
        ("hetzner", {"servers": {"fra1": 2**63}}, "servers.fra1", "must be 9223372036854775807 at most"),
        ("hetzner", {"servers": {"fra1": 7, "ams1": 7}}, "servers", "nodes 'fra1' and 'ams1' have the same id"),
        ("digitalocean", {"droplets": {"fra1": 0}}, "droplets.fra1", "must be more than 0"),
        ("digitalocean", {"droplets": {"fra1": 7, "ams1": 7}}, "droplets", "have the same id"),
        ("digitalocean", {"anchor_addresses": {"fra1": "fd00::1"}}, "anchor_addresses.fra1", "is no IPv4 address"),
        ("vultr", {"instances": {"fra1": "i-1"}}, "instances.fra1", "must be an instance's id as Vultr shows it"),
        ("vultr", {"instances": {"fra1": UUIDS[0], "ams1": UUIDS[0].upper()}}, "instances", "have the same id"),
        ("aws", AWS | {"instances": {"fra1": UUIDS[0]}}, "instances.fra1", "must be an instance's id, such as i-"),
        ("aws", AWS | {"instances": {"fra1": "i-xyz"}}, "instances.fra1", "must be an instance's id, such as i-"),
        ("aws", AWS | {"access_key_id": "a"}, "access_key_id", "must be 16 to 128 characters"),
        ("aws", AWS | {"region": "mars"}, "region", "must be a region, such as eu-central-1"),
        ("aws", AWS | {"private_addresses": {"fra1": ["fd00::1"]}}, "private_addresses.fra1.0", "is no IPv4 address"),
        ("aws", AWS | {"private_addresses": {"fra1": ["x"]}}, "private_addresses.fra1.0", ""),
    ],
)
def test_ids_that_no_cloud_gives_are_refused_by_the_node(
    provider: str, options: dict[str, Any], field: str, said: str
) -> None:
    found, detail = refused(provider, TOKEN | options)
    assert found == field
    assert said in detail


def test_ids_as_clouds_give_them_are_taken() -> None:
    found = plugins.AddressPlugins.installed()
    assert found.canonical("hetzner", TOKEN | {"servers": {"fra1": 42, "ams1": 2**63 - 1}})
    assert found.canonical("vultr", TOKEN | {"instances": dict(zip(("fra1", "ams1"), UUIDS, strict=True))})
    assert found.canonical("aws", AWS | {"instances": {"fra1": "i-0abcdef1"}})
    for url in ("https://[2606:4700::1]:8443/v2", "HTTPS://api.example", "https://api.example/v2/"):
        assert found.canonical("hetzner", TOKEN | {"api_url": url})["api_url"] == url


@pytest.mark.usefixtures("wg0")
def test_nodes_that_there_are_not_and_addresses_that_a_cloud_has_not_are_refused(client: httpx.Client) -> None:
    for number, name in enumerate(("fra1", "ams1"), 1):
        made(client, "/api/nodes", name=name, endpoint_addresses=[f"192.0.2.{number}"])
    made(client, "/api/nodes", name="helper", witness=True, agent_host="198.51.100.9")
    path = "/api/configs/wg0/endpoint-group"
    given: dict[str, Any] = {
        "domain": "vpn.example.org",
        "address_provider": "digitalocean",
        "floating_addresses": ["203.0.113.7"],
        "address_options": TOKEN | {"droplets": {"fra1": 7}},
    }
    made(client, path, **given)
    for name in ("fra2", "helper"):
        answer = client.patch(path, json={"address_options": TOKEN | {"droplets": {"fra1": 7, name: 8}}})
        assert (answer.status_code, answer.json()["field"]) == (422, "address_options.droplets"), answer.text
        assert f"there is no node '{name}'" in answer.json()["detail"]
    addresses = ["203.0.113.7", "2001:470::7"]
    answer = client.patch(path, json={"floating_addresses": addresses})
    assert (answer.status_code, answer.json()["field"]) == (422, "floating_addresses[1]"), answer.text
    assert "has only IPv4" in answer.json()["detail"]
    assert client.delete("/api/nodes/fra1").status_code in {200, 204}
    same = client.patch(path, json={"address_options": TOKEN | {"droplets": {"fra1": 7, "ams1": 9}}})
    assert same.status_code == 200, "a node that is gone keeps nobody from changing the rest"
