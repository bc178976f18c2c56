"""Nodes by name: their addresses are those that the name leads to, also after it was pointed elsewhere."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made, one_database
from tests.panel.fleet.test_host_names import Resolver, resolver
from wgfleet.panel.api import Panel
from wgfleet.panel.reconcile.host_names import HostNameWatch
from wgfleet.panel.services import configs, health
from wgfleet.panel.services.fleet import assignments, nodes

__all__ = ["resolver"]
HOME = "home.example.net"


@pytest.fixture
def home(client: httpx.Client, resolver: Resolver, panel: Panel) -> dict[str, Any]:
    """Make a node by its name, which serves a config without a name, beside another."""
    resolver[HOME] = ["203.0.113.7", "127.0.0.1"]
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    serve(panel, client, "wg0", "fra1")
    found = made(client, "/api/nodes", name="home", endpoint_name="Home.Example.net.")
    made(client, "/api/configs/wg0/nodes", node_id="home")
    with panel.store.write() as tx:
        config, node = configs.get(tx, "wg0"), nodes.get(tx, "home")
        assignments.confirmed(tx, config.id, node.id, config.generation, (), "in sync", held=())
    return found


def look(panel: Panel) -> None:
    asyncio.run(HostNameWatch(panel.store, {}).look_at_nodes())


def shown(client: httpx.Client) -> tuple[list[str], list[str], str | None]:
    node = client.get("/api/nodes/home").json()
    return node["endpoint_addresses"], node["next_endpoint_addresses"], node["endpoint_warning"]


def test_a_node_has_the_addresses_of_its_name_and_its_agent_is_called_by_it(
    client: httpx.Client, home: dict[str, Any]
) -> None:
    assert (home["endpoint_name"], home["agent_host"], home["endpoint_addresses"]) == (HOME, HOME, ["203.0.113.7"])
    for name in ("anna", "bert"):
        peer = made(client, "/api/configs/wg0/peers", name=name)
        host = HOME if peer["home_node_id"] == home["id"] else "192.0.2.1"
        assert f"Endpoint = {host}:51820\n" in client.get(f"/api/peers/{peer['id']}/config").text


def test_a_name_that_moves_is_followed_once_the_node_answers_there(
    client: httpx.Client, home: dict[str, Any], panel: Panel, resolver: Resolver
) -> None:
    look(panel)
    assert shown(client) == (["203.0.113.7"], [], None)
    resolver[HOME] = ["203.0.113.99"]
    look(panel)
    addresses, waiting, warning = shown(client)
    assert (addresses, waiting, warning) == (["203.0.113.7"], ["203.0.113.99"], None)
    with panel.store.read() as tx:
        watched = health.watched(tx, panel.vault, lambda *_: None)
        (probed,) = [each for each in watched if each.node_id == home["id"]]
    assert probed.next_endpoints == ("203.0.113.99:51820",)
    with panel.store.write() as tx:
        nodes.use_answering(tx, home["id"], {"203.0.113.99"})
    assert shown(client) == (["203.0.113.99"], [], None)
    del resolver[HOME]
    look(panel)
    addresses, waiting, warning = shown(client)
    assert (addresses, waiting) == (["203.0.113.99"], []), "one that is not found keeps what it had"
    assert warning == f"{HOME} is not found just now (no such name); the node keeps the addresses that it had"
    resolver[HOME] = ["127.0.0.1"]
    look(panel)
    assert shown(client)[0] == ["203.0.113.99"]
    assert "where no client reaches a node" in (shown(client)[2] or "")
    resolver[HOME] = ["203.0.113.7"]
    look(panel)
    resolver[HOME] = ["203.0.113.99"]
    look(panel)
    assert shown(client) == (["203.0.113.99"], [], None), "it came back before anybody had to move"


def test_an_address_that_the_node_cannot_have_is_refused_once_and_said(
    client: httpx.Client, home: dict[str, Any], panel: Panel, resolver: Resolver
) -> None:
    resolver[HOME] = ["192.0.2.1"]  # another node of the same config
    watch = HostNameWatch(panel.store, {})
    for _ in range(3):
        asyncio.run(watch.look_at_nodes())
    assert shown(client)[:2] == (home["endpoint_addresses"], [])
    assert "leads to 192.0.2.1, which the node does not have (yet)" in (shown(client)[2] or "")
    entries = client.get("/api/audit-logs", params={"action": "addresses_refused"}).json()["items"]
    assert [entry["entity_id"] for entry in entries] == [home["id"]]
    assert "the agent of node 'fra1' is at 192.0.2.1" in str(entries)


@one_database
@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"endpoint_name": "gone.example.net"}, "endpoint_name", "is not found (no such name); make it first"),
        ({"endpoint_name": "inner.example.net"}, "endpoint_name", "leads to 127.0.0.1, where no client reaches a node"),
        ({"endpoint_name": "203.0.113.7"}, "endpoint_name", "is not a domain name"),
        ({"endpoint_name": ""}, "endpoint_name", "is not a domain name"),
        ({"endpoint_name": "*.example.net"}, "endpoint_name", "stands for many names"),
        ({"endpoint_name": HOME, "endpoint_addresses": ["203.0.113.8"]}, "endpoint_name", "not both"),
        ({"endpoint_name": HOME, "witness": True, "agent_host": HOME}, "endpoint_name", "serves no clients"),
        ({"endpoint_name": "tunnel.example.net"}, "endpoint_addresses[0]", "inside the tunnel"),
    ],
)
def test_names_that_no_node_can_have(
    client: httpx.Client, resolver: Resolver, body: dict[str, Any], field: str, words: str
) -> None:
    resolver |= {HOME: ["203.0.113.7"], "inner.example.net": ["127.0.0.1"], "tunnel.example.net": ["10.8.0.9"]}
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    answer = client.post("/api/nodes", json={"name": "home", **body})
    assert answer.status_code in {409, 422}, answer.text
    assert answer.json()["field"] == field
    assert words in answer.json()["detail"]


def test_a_name_is_taken_and_given_up_by_a_change_and_its_addresses_never_end_up_in_a_tunnel(
    client: httpx.Client, home: dict[str, Any], resolver: Resolver
) -> None:
    answer = client.patch("/api/nodes/home", json={"endpoint_addresses": ["203.0.113.8"]})
    assert (answer.status_code, answer.json()["field"]) == (409, "endpoint_addresses")
    assert "set endpoint_name to null" in answer.json()["detail"]
    covering = client.post("/api/configs", json={"name": "wg9", "pools": ["203.0.113.0/28"]})
    assert covering.status_code == 409
    changed = client.patch("/api/nodes/home", json={"endpoint_name": None}).json()
    assert (changed["endpoint_name"], changed["endpoint_addresses"]) == (None, home["endpoint_addresses"])
    resolver["new.example.net"] = ["203.0.113.9"]
    said = client.post("/api/nodes/home/preview", json={"endpoint_name": "new.example.net"}).json()["effects"]
    assert "203.0.113.7 leaves the names of wg0" in " ".join(said)
    changed = client.patch("/api/nodes/home?force=true", json={"endpoint_name": "new.example.net"}).json()
    assert (changed["endpoint_name"], changed["endpoint_addresses"]) == ("new.example.net", ["203.0.113.9"])
    kept = {"endpoint_name": None, "endpoint_addresses": ["203.0.113.10"]}
    assert client.patch("/api/nodes/home?force=true", json=kept).json()["endpoint_addresses"] == ["203.0.113.10"]
