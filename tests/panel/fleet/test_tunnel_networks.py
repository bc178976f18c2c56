"""No pool and no network behind a peer contains an address that nodes or the panel need outside of the tunnel."""

import ipaddress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panel.conftest import made, one_database
from wgfleet.panel import machine
from wgfleet.panel.domain.tunnel_networks import NeededAddresses, special_range

ENDPOINTS = ["203.0.113.7", "2001:db8:7::7"]


@pytest.fixture
def config(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(machine, "outbound_addresses", lambda: ("192.0.2.44", "2001:db8:44::1"))
    made(client, "/api/nodes", name="fra1", endpoint_addresses=ENDPOINTS, agent_host="198.51.100.9")
    config = made(client, "/api/configs", name="wg0", mode="cluster", pools=["10.8.0.0/24"])
    group = {"domain": "vpn.example.com", "floating_addresses": ["203.0.113.200"], "address_provider": "l2"}
    assert (
        client.put("/api/configs/wg0/endpoint-group", json=group).is_success
        or client.post("/api/configs/wg0/endpoint-group", json=group).is_success
    )
    return config


COVERED = [
    ("128.0.0.0/1", "contains"),
    ("203.0.113.0/24", "fra1"),
    ("203.0.113.7/32", "an address of node 'fra1'"),
    ("2001:db8:7::/48", "an address of node 'fra1'"),
    ("198.51.100.0/24", "where the agent of node 'fra1' is"),
    ("203.0.113.200/32", "a floating address"),
    ("192.0.2.0/24", "an address of the panel's machine"),
    ("2001:db8:44::/64", "an address of the panel's machine"),
    ("127.0.0.0/8", "where the panel listens"),
    ("127.9.0.0/16", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("169.254.169.254/32", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("0.0.0.0/8", "this network"),
    ("fe80::/64", "link-local"),
    ("ff00::/8", "multicast"),
    ("::1/128", "loopback"),
    ("::ffff:10.0.0.0/104", "IPv4 addresses"),
]


@one_database
@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(("network", "who"), COVERED)
def test_a_peer_cannot_have_them(client: httpx.Client, network: str, who: str) -> None:
    peer = made(client, "/api/configs/wg0/peers", name="office", networks=["192.168.7.0/24"])
    answers = {
        "networks[1]": client.post(
            "/api/configs/wg0/peers", json={"name": "other", "networks": ["192.168.8.0/24", network]}
        ),
        "peers[1].networks[0]": client.post(
            "/api/configs/wg0/peers/batch", json={"peers": [{"name": "a"}, {"name": "b", "networks": [network]}]}
        ),
        "networks[0]": client.patch(f"/api/peers/{peer['id']}", json={"networks": [network]}),
    }
    for field, answer in answers.items():
        assert answer.status_code in {409, 422}, (field, answer.text)
        said = answer.json()
        assert field in str(said)
        assert who.lower() in said["detail"].lower()


@one_database
@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    "pool", ["203.0.113.0/24", "2001:db8:7::/48", "198.51.100.0/24", "192.0.2.0/24", "203.0.113.192/26", "127.9.0.0/16"]
)
def test_a_pool_cannot_have_them(client: httpx.Client, pool: str) -> None:
    answer = client.post("/api/configs", json={"name": "wg1", "mode": "cluster", "pools": ["10.9.0.0/24", pool]})
    assert answer.status_code in {409, 422}
    assert "pools[1]" in answer.text


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("address", ["10.8.0.77", "192.168.7.5"])
def test_no_node_and_no_floating_address_moves_into_them(client: httpx.Client, address: str) -> None:
    made(client, "/api/configs/wg0/peers", name="office", networks=["192.168.7.0/24"])
    endpoint = {"name": "fra2", "endpoint_addresses": ["203.0.113.8", address]}
    agent = {"name": "fra2", "endpoint_addresses": ["203.0.113.8"], "agent_host": address}
    answers = {
        "endpoint_addresses[1]": [
            client.post("/api/nodes", json=endpoint),
            client.patch("/api/nodes/fra1", json={"endpoint_addresses": [ENDPOINTS[0], address]}),
        ],
        "agent_host": [
            client.post("/api/nodes", json=agent),
            client.patch("/api/nodes/fra1", json={"agent_host": address}),
        ],
    }
    group = client.get("/api/configs/wg0/endpoint-group").json()
    group = {"domain": group["domain"], "address_provider": "l2", "floating_addresses": [address]}
    answers["floating_addresses[0]"] = [client.post("/api/configs/wg0/endpoint-group", json=group)]
    for field, each in answers.items():
        for answer in each:
            assert answer.status_code == 409, (field, answer.text)
            assert field in answer.text
            assert "inside the tunnel" in answer.json()["detail"]
    assert client.patch("/api/nodes/fra1", json={"agent_host": "agent.example.com", "weight": 2}).is_success


@given(st.lists(st.ip_addresses(v=4), max_size=20), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_an_address_is_found_as_by_asking_each(addresses: list[ipaddress.IPv4Address], start: int, prefix: int) -> None:
    network = ipaddress.IPv4Network((start, prefix), strict=False)
    found = NeededAddresses({str(each): "x" for each in addresses}).inside(network)
    inside = [each for each in addresses if each in network]
    assert (found is None) == (not inside)
    assert found is None or ipaddress.IPv4Address(found[0]) == min(inside)


@given(st.ip_addresses())
def test_a_special_address_is_in_a_special_range(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    network = ipaddress.ip_network(str(address))
    if address.is_loopback or address.is_multicast or address.is_link_local or address.is_unspecified:
        assert special_range(network) is not None


@pytest.mark.parametrize("text", ["::192.0.2.1", "::ffff:192.0.2.1", "::ffff:0:192.0.2.1", "100::1"])
def test_no_node_is_at_an_ipv4_address_in_ipv6_form_or_where_nobody_is(client: httpx.Client, text: str) -> None:
    answer = client.post("/api/nodes", json={"name": "ber1", "endpoint_addresses": [text]})
    assert (answer.status_code, answer.json()["field"]) == (422, "endpoint_addresses[0]")
