"""Values that are allowed and hardly meant: they are said; those that nobody can mean are refused."""

import httpx
import pytest

from tests.panel.conftest import made, one_database


@one_database
@pytest.mark.parametrize(
    ("dns", "warning"),
    [
        (["banana"], "banana is taken for a search domain, and no name server is given: add its address"),
        (["corp.example", "lan"], "corp.example, lan is taken for a search domain"),
        (["9.9.9.9", "banana"], None),
        (["127.0.0.53"], None),
        (["10.8.0.1"], None),
        ([], None),
    ],
)
def test_a_search_domain_without_a_name_server_is_said(
    client: httpx.Client, dns: list[str], warning: str | None
) -> None:
    config = made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], dns=dns)
    assert config["dns"] == dns
    assert (config["dns_warning"] or "").startswith(warning or "")
    assert (config["dns_warning"] is None) is (warning is None)


@one_database
@pytest.mark.parametrize("dns", ["0.0.0.0", "224.0.0.251", "::ffff:9.9.9.9", "255.255.255.255", "fe80::1", "9.9.9", ""])
def test_what_is_never_a_name_server_is_refused_for_configs_peers_and_tags(client: httpx.Client, dns: str) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    for answer in (
        client.patch("/api/configs/wg0", json={"dns": ["9.9.9.9", dns]}),
        client.patch(f"/api/peers/{peer['id']}", json={"dns": ["9.9.9.9", dns]}),
        client.post("/api/tags", json={"name": "staff", "dns": ["9.9.9.9", dns]}),
    ):
        assert (answer.status_code, answer.json()["field"]) == (422, "dns[1]"), answer.text


@one_database
@pytest.mark.parametrize("domain", ["localhost", "vpn.localhost", "Invalid.", "vpn.invalid"])
def test_a_name_that_leads_nowhere_is_refused(client: httpx.Client, domain: str) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    answer = client.post("/api/configs/wg0/endpoint-group", json={"domain": domain})
    assert (answer.status_code, answer.json()["field"]) == (422, "domain"), answer.text


@one_database
@pytest.mark.parametrize("name", ["0x7f000001", "0x10", "a.0x7f", "a.1", "017700000001", "10"])
def test_a_name_that_programs_read_as_an_address_is_refused_everywhere(client: httpx.Client, name: str) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    node = {"name": "fra1", "endpoint_addresses": ["192.0.2.1"]}
    for path, body, field in (
        ("/api/configs/wg0/endpoint-group", {"domain": name}, "domain"),
        ("/api/nodes", {"name": "fra1", "endpoint_name": name}, "endpoint_name"),
        ("/api/nodes", node | {"agent_host": name}, "agent_host"),
        ("/api/configs", {"name": "wg1", "pools": ["10.9.0.0/24"], "dns": [name]}, "dns[0]"),
    ):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
        assert "such as vpn.example.com" in answer.json()["detail"]


@one_database
@pytest.mark.parametrize("name", ["a", "1e400", "vpn."])
def test_a_name_without_a_dot_is_refused_where_devices_are_to_find_it(client: httpx.Client, name: str) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    for path, body, field in (
        ("/api/configs/wg0/endpoint-group", {"domain": name}, "domain"),
        ("/api/nodes", {"name": "fra1", "endpoint_name": name}, "endpoint_name"),
    ):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
        assert f"give all of it, such as {name.rstrip('.')}.example.com" in answer.json()["detail"]


def test_more_nodes_than_there_are_may_be_wanted_and_that_is_said(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    group = made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    assert group["min_nodes_warning"] is None
    changed = client.patch("/api/configs/wg0/endpoint-group", json={"min_nodes": 99}).json()
    assert changed["min_nodes_warning"].startswith("min_nodes is 99, and the config has 0: one that dies stays in use")


def test_whom_a_denied_network_concerns_is_said_before(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], denied_networks=["10.0.0.0/8"])
    made(client, "/api/configs/wg0/peers", name="anna")
    wanted = {"denied_networks": ["10.0.0.0/8", "0.0.0.0/0"]}
    said = client.post("/api/configs/wg0/preview", json=wanted).json()["effects"]
    assert said == ["0.0.0.0/0: no longer reached through the tunnel by 1 peer of 'wg0'"]
