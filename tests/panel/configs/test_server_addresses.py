"""The nodes' own address in a pool, where it is not the first: chosen, kept from peers, changed while there is none."""

from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import desired
from wgfleet.panel.store import assignments


def changed(client: httpx.Client, **changes: Any) -> httpx.Response:
    return client.patch("/api/configs/wg0", json=changes)


def addresses(client: httpx.Client) -> list[list[str]]:
    return [peer["addresses"] for peer in client.get("/api/configs/wg0/peers").json()["items"]]


def of_nodes(panel: Panel) -> list[str]:
    with panel.store.read() as tx:
        config = configs.get(tx, "wg0")
        [(assignment, _)] = assignments.of_config(tx, config.id)
        return list(desired.whole(tx, panel.vault, config, assignment).settings.addresses)


def test_nodes_have_it_and_no_peer_gets_it(client: httpx.Client, panel: Panel) -> None:
    config = made(
        client, "/api/configs", name="wg0", pools=["10.8.0.0/29", "fd00:7::/125"], server_addresses=["10.8.0.3"]
    )
    assert config["server_addresses"] == ["10.8.0.3", "fd00:7::1"]
    serve(panel, client, "wg0", "fra1")
    assert of_nodes(panel) == ["10.8.0.3/29", "fd00:7::1/125"]
    refused = client.post("/api/configs/wg0/peers", json={"name": "x", "addresses": ["10.8.0.3"]})
    assert (refused.status_code, refused.json()["field"]) == (422, "addresses[0]")
    assert "the node's own address" in refused.json()["detail"]
    for name in ("anna", "bert", "carl", "dora", "emil"):
        made(client, "/api/configs/wg0/peers", name=name)
    assert [first for first, _ in addresses(client)] == ["10.8.0.1", "10.8.0.2", "10.8.0.4", "10.8.0.5", "10.8.0.6"]
    assert client.post("/api/configs/wg0/peers", json={"name": "fred"}).status_code == 409, "all are used up"
    peer = client.get("/api/configs/wg0/peers").json()["items"][0]
    assert "Address = 10.8.0.1/32, fd00:7::2/128\n" in client.get(f"/api/peers/{peer['id']}/config").text


def test_a_node_that_is_the_name_server_of_users_opens_the_port_there(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], server_addresses=["10.8.0.254"], dns=["10.8.0.254"])
    serve(panel, client, "wg0", "fra1")
    with panel.store.read() as tx:
        config = configs.get(tx, "wg0")
        [(assignment, _)] = assignments.of_config(tx, config.id)
        reach = desired.whole(tx, panel.vault, config, assignment).settings.reach
    assert reach is not None
    assert {"udp/53", "tcp/53"} <= set(reach.node_ports)


def test_it_changes_while_no_peer_is_there_and_stays_afterwards(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    serve(panel, client, "wg0", "fra1")
    before = client.get("/api/configs/wg0").json()["generation"]
    now = changed(client, server_addresses=["10.8.0.254"]).json()
    assert (now["server_addresses"], now["generation"]) == (["10.8.0.254"], before + 1)
    assert of_nodes(panel) == ["10.8.0.254/24"]
    made(client, "/api/configs/wg0/peers", name="anna")
    assert addresses(client) == [["10.8.0.1"]]
    for call in (client.patch, client.post):
        path = "/api/configs/wg0" if call == client.patch else "/api/configs/wg0/preview"
        refused = call(path, json={"server_addresses": ["10.8.0.9"]})
        assert (refused.status_code, refused.json()["field"]) == (409, "server_addresses")
        assert "may name 10.8.0.254, that of the nodes, as DNS server" in refused.json()["detail"]
    same = changed(client, server_addresses=["10.8.0.254"])
    assert same.json()["generation"] == client.get("/api/configs/wg0").json()["generation"], "the same is no change"
    new = changed(client, pools=["10.8.0.0/24", "10.9.0.0/24"], server_addresses=["10.9.0.7"]).json()
    assert new["server_addresses"] == ["10.8.0.254", "10.9.0.7"]
    assert of_nodes(panel) == ["10.8.0.254/24", "10.9.0.7/24"]
    assert addresses(client) == [["10.8.0.1", "10.9.0.1"]]
    (entry, _) = client.get("/api/audit-logs", params={"action": "pools_changed"}).json()["items"]
    assert entry["details"]["server_addresses"] == ["10.9.0.7"]


def test_a_pool_becomes_larger_around_it_and_never_smaller_than_it(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/25"], server_addresses=["10.8.0.126"])
    made(client, "/api/configs/wg0/peers", name="anna")
    assert changed(client, pools=["10.8.0.0/24"]).json()["server_addresses"] == ["10.8.0.126"]
    refused = changed(client, pools=["10.8.0.0/26"])
    assert (refused.status_code, refused.json()["field"]) == (409, "pools")
    assert "the nodes have 10.8.0.126" in refused.json()["detail"]
    assert changed(client, pools=["10.8.0.0/25"]).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "field", "why"),
    [
        (["10.9.0.1"], "server_addresses[0]", "in none of the pools (10.8.0.0/24)"),
        (["10.8.0.0"], "server_addresses[0]", "network address"),
        (["10.8.0.255"], "server_addresses[0]", "broadcast address"),
        (["10.8.0.4", "10.8.0.5"], "server_addresses[1]", "a second one in 10.8.0.0/24"),
        (["ten"], "server_addresses[0]", "ten"),
    ],
)
def test_what_cannot_be_one_is_refused(client: httpx.Client, wanted: list[str], field: str, why: str) -> None:
    body = {"name": "wg0", "pools": ["10.8.0.0/24"], "server_addresses": wanted}
    refused = client.post("/api/configs", json=body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)
    assert why in refused.json()["detail"]


def test_nodes_of_an_independent_config_have_addresses_of_their_slices(client: httpx.Client) -> None:
    body = {"name": "wg0", "pools": ["10.8.0.0/24"], "mode": "independent"}
    refused = client.post("/api/configs", json={**body, "server_addresses": ["10.8.0.7"]})
    assert (refused.status_code, refused.json()["field"]) == (422, "server_addresses[0]")
    assert made(client, "/api/configs", **body)["server_addresses"] == []


def test_a_table_that_asks_for_it_is_refused_before_anything_is_made(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], server_addresses=["10.8.0.254"])
    path, sent = "/api/configs/wg0/peers/csv", {"content-type": "text/csv"}
    plan = client.post(
        f"{path}/preview", content="name,addresses\nanna,10.8.0.254\nbert,10.8.0.1\n", headers=sent
    ).json()
    assert [(each["line"], each["column"]) for each in plan["problems"]] == [(2, "addresses")]
    assert "own address" in plan["problems"][0]["detail"]
    assert client.post(path, content="name,addresses\nbert,10.8.0.1\n", headers=sent).status_code < 300
    assert addresses(client) == [["10.8.0.1"]]
