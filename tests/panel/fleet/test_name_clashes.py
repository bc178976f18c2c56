"""Names that two configs would have: refused where one would get the second, with the field and the other config."""

from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel

DOMAIN = "vpn.example.com"


@pytest.fixture
def wg1(panel: Panel, client: httpx.Client) -> str:
    """Return an independent config whose nodes have names below a domain, beside one without, and a cluster."""
    made(client, "/api/configs", name="wg1", mode="independent", pools=["10.9.0.0/24"])
    made(client, "/api/configs", name="wg2", mode="independent", pools=["10.10.0.0/24"], listen_port=51821)
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], listen_port=51822)
    serve(panel, client, "wg1", "fra1", "ber1")
    made(client, "/api/configs/wg1/endpoint-group", domain=DOMAIN)
    return "wg1"


def group(client: httpx.Client, config: str, **body: Any) -> httpx.Response:
    return client.post(f"/api/configs/{config}/endpoint-group", json=body)


def check_refused(answer: httpx.Response, field: str, *words: str) -> None:
    assert (answer.status_code, answer.json()["field"]) == (409, field), answer.text
    for each in words:
        assert each in answer.json()["detail"], answer.text


@pytest.mark.usefixtures("wg1")
def test_two_independent_configs_have_no_domain_in_common(client: httpx.Client) -> None:
    check_refused(group(client, "wg2", domain="VPN.example.com"), "domain", DOMAIN, "'wg1'")
    assert group(client, "wg2", domain="two.example.com").status_code == 201
    changed = client.patch("/api/configs/wg2/endpoint-group", json={"domain": DOMAIN})
    check_refused(changed, "domain", DOMAIN, "'wg1'")
    assert group(client, "wg1", domain=DOMAIN, ttl=90).status_code == 200, "its own is no other's"
    assert client.delete("/api/configs/wg1/endpoint-group").status_code == 204
    assert group(client, "wg2", domain=DOMAIN).status_code == 200


@pytest.mark.usefixtures("wg1")
def test_the_name_of_a_node_is_no_clusters_domain(client: httpx.Client) -> None:
    check_refused(group(client, "wg0", domain=f"FRA1.{DOMAIN}"), "domain", f"fra1.{DOMAIN}", "'wg1'", "'fra1'")
    options = {"server": "127.0.0.1", "key_name": "k", "key_secret": "c2VjcmV0c2VjcmV0c2VjcmV0"}
    published = {"provider": "rfc2136", "zone": "example.com", "record_name": f"ber1.{DOMAIN}", "options": options}
    check_refused(group(client, "wg0", domain="a.example.com", dns=published), "dns.record_name", "ber1", "'wg1'")
    assert group(client, "wg0", domain=DOMAIN).status_code == 201, "nothing of the other config is at it"
    assert client.delete("/api/configs/wg1/endpoint-group").status_code == 204
    assert group(client, "wg0", domain=f"fra1.{DOMAIN}").status_code == 200
    check_refused(group(client, "wg1", domain=DOMAIN), "domain", f"fra1.{DOMAIN}", "'wg0'", "'fra1'")


@pytest.mark.usefixtures("wg1")
def test_a_node_is_neither_named_nor_assigned_so_that_it_gets_a_name_of_another_config(
    client: httpx.Client,
) -> None:
    assert group(client, "wg0", domain=f"nyc1.{DOMAIN}").status_code == 201
    renamed = client.patch("/api/nodes/fra1", json={"name": "nyc1"})
    check_refused(renamed, "name", f"nyc1.{DOMAIN}", "'wg0'")
    assert client.post("/api/nodes/fra1/preview", json={"name": "nyc1"}).status_code == 409
    assert client.patch("/api/nodes/fra1", json={"name": "Fra1"}).status_code == 200
    made(client, "/api/nodes", name="nyc1", endpoint_addresses=["192.0.2.77"])
    check_refused(
        client.post("/api/configs/wg1/nodes", json={"node_id": "nyc1"}), "node_id", f"nyc1.{DOMAIN}", "'wg0'", "'wg1'"
    )
    assert client.post("/api/configs/wg0/nodes", json={"node_id": "nyc1"}).status_code == 201


@pytest.mark.usefixtures("wg1")
def test_names_with_dots_of_two_independent_configs_are_told_apart(client: httpx.Client) -> None:
    assert group(client, "wg2", domain="example.com").status_code == 201
    made(client, "/api/nodes", name="ber1.vpn", endpoint_addresses=["192.0.2.78"])
    check_refused(
        client.post("/api/configs/wg2/nodes", json={"node_id": "ber1.vpn"}), "node_id", f"ber1.{DOMAIN}", "'wg1'"
    )
