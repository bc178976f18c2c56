"""Nodes that a router puts at another port than they listen on: probed, named and published as clients see them."""

from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from tests.panel.fleet.test_shared_addresses import refused
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.dns.listing import desired_addresses
from wgfleet.panel.services import configs, health
from wgfleet.panel.services.dns import serving_nodes
from wgfleet.panel.services.fleet import assignments, desired, nodes, public_ports
from wgfleet.panel.services.health import Probed
from wgfleet.protocol.features import Feature

NODE = "/api/configs/wg0/nodes/fra1"


@pytest.fixture
def wg0(client: httpx.Client, panel: Panel) -> None:
    """Make a config that two nodes serve, without a name."""
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    serve(panel, client, "wg0", "fra1", "ams1")


def probed(panel: Panel, name: str) -> Probed:
    with panel.store.read() as tx:
        node_id = nodes.get(tx, name).id
        return next(each for each in health.watched(tx, panel.vault, lambda *_: None) if each.node_id == node_id)


def listed(panel: Panel) -> tuple[tuple[str, ...], str | None]:
    with panel.store.read() as tx:
        config = configs.get(tx, "wg0")
        found = desired_addresses(serving_nodes.of_config(tx, config.id), (), only_healthy=True, min_nodes=1)
        return found.addresses, found.note


def change(client: httpx.Client, port: int | None, query: str = "") -> dict[str, Any]:
    answer = client.patch(f"{NODE}{query}", json={"public_port": port})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.usefixtures("wg0")
def test_a_new_port_of_a_node_that_serves_is_probed_first_and_then_used_everywhere(
    client: httpx.Client, panel: Panel
) -> None:
    shown = change(client, 443)
    assert (shown["public_port"], shown["next_public_port"]) == (None, 443)
    undone = client.post(f"{NODE}/preview", json={"public_port": None})
    assert undone.json()["effects"] == [], "to wait no longer concerns nobody"
    before = probed(panel, "fra1")
    assert before.endpoint == before.client_endpoints[0] == "192.0.2.1:51820"
    assert before.next_port_endpoints == ("192.0.2.1:443",)
    assert "192.0.2.1:443" in before.endpoints
    with panel.store.write() as tx:
        public_ports.use_answering(tx, before.config_id, before.node_id)
    after = probed(panel, "fra1")
    assert (after.endpoint, after.endpoints, after.next_port_endpoints) == ("192.0.2.1:443", ("192.0.2.1:443",), ())
    with panel.store.read() as tx:
        config = configs.get(tx, "wg0")
        other = assignments.get(tx, config, nodes.get(tx, "ams1"))
        mute = desired.whole(tx, panel.vault, config, other).settings.mute
    assert mute is not None
    assert mute.witnesses == ("192.0.2.1:443",), "the other node asks it there as well"
    for name in ("anna", "bert"):
        peer = made(client, "/api/configs/wg0/peers", name=name)
        (file,) = client.get(f"/api/peers/{peer['id']}/configs").json()["items"]
        port = 443 if "192.0.2.1:" in file["text"] else 51820
        assert f"Endpoint = 192.0.2.{1 if port == 443 else 2}:{port}\n" in file["text"]
    assert change(client, None)["next_public_port"] == public_ports.NONE
    assert change(client, None, "?force=true")["public_port"] is None
    assert probed(panel, "fra1").endpoint == "192.0.2.1:51820"


@pytest.mark.usefixtures("wg0")
def test_a_name_lists_only_nodes_that_answer_at_the_port_of_the_files(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    assert listed(panel) == (("192.0.2.1", "192.0.2.2"), None)
    shown = change(client, 443, "?force=true")
    assert shown["public_port_warning"] == "clients reach it at port 443, and the files of its config say port 51820"
    assert listed(panel) == (("192.0.2.2",), None)
    with panel.store.read() as tx:
        reason, _ = serving_nodes.change_reason(tx, shown["config_id"], {"192.0.2.1", "192.0.2.2"}, {"192.0.2.2"})
    assert reason == f"node fra1 is left out: {shown['public_port_warning']}"
    client.patch("/api/configs/wg0/nodes/ams1?force=true", json={"public_port": 444})
    addresses, note = listed(panel)
    assert addresses == ("192.0.2.1", "192.0.2.2"), "a name without addresses helps nobody"
    assert note is not None
    assert note.startswith("no node answers at the port of the files, which is to be changed: ")
    client.patch("/api/configs/wg0/nodes/ams1?force=true", json={"public_port": None})
    client.patch("/api/configs/wg0/endpoint-group", json={"port": 443})
    assert client.get("/api/configs/wg0/nodes").json()["items"][0]["public_port_warning"] is None
    assert listed(panel) == (("192.0.2.1", "192.0.2.2"), None)


def test_two_nodes_behind_one_router_have_a_config_in_common_at_ports_of_their_own(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    for number, name in enumerate(("fra1", "fra2")):
        made(client, "/api/nodes", name=name, endpoint_addresses=["192.0.2.1"], agent_port=51900 + number)
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    answer = client.post("/api/configs/wg0/nodes", json={"node_id": "fra2"})
    refused(answer, "node_id", "or a public port, if a router has one for it")
    for port, words in ((51820, "the config has one port on all its nodes"), (0, "")):
        answer = client.post("/api/configs/wg0/nodes", json={"node_id": "fra2", "public_port": port})
        assert (answer.status_code, answer.json()["field"]) == (409 if port else 422, "public_port"), answer.text
        assert words in answer.json()["detail"]
    assert made(client, "/api/configs/wg0/nodes", node_id="fra2", public_port=443)["public_port"] == 443
    answer = client.post("/api/configs/wg1/nodes", json={"node_id": "fra1", "public_port": 443})
    refused(answer, "public_port", "port 443 of 192.0.2.1 leads to config 'wg0' on node 'fra2'")
    refused(client.patch("/api/configs/wg0/nodes/fra2", json={"public_port": None}), "public_port", "are both at")


def test_a_new_port_that_another_node_has_taken_meanwhile_is_given_up(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    serve(panel, client, "wg0", "fra1")
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    change(client, 443)
    made(client, "/api/configs/wg1/nodes", node_id="fra1", public_port=443)
    member = probed(panel, "fra1")
    with panel.store.write() as tx:
        public_ports.use_answering(tx, member.config_id, member.node_id)
    (shown,) = client.get("/api/configs/wg0/nodes").json()["items"]
    assert (shown["public_port"], shown["next_public_port"]) == (None, None)
    (entry, *_) = client.get("/api/audit-logs", params={"action": "port_refused"}).json()["items"]
    assert "leads to config 'wg1'" in str(entry)


def links(panel: Panel, name: str) -> list[str]:
    """Return where a node calls the others over the backbone."""
    with panel.store.read() as tx:
        config = configs.get(tx, "wg0")
        own = assignments.get(tx, config, nodes.get(tx, name))
        found = desired.whole(tx, panel.vault, config, own).settings.backbone
    assert found is not None
    return sorted(each.endpoint for each in found.nodes)


def test_nodes_behind_one_router_have_ends_of_the_backbone_at_ports_of_their_own(
    client: httpx.Client, panel: Panel
) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], backbone=True)
    for number, (name, address) in enumerate((("fra1", "192.0.2.1"), ("fra2", "192.0.2.1"), ("ams1", "192.0.2.2"))):
        made(client, "/api/nodes", name=name, endpoint_addresses=[address], agent_port=51900 + number)
        with panel.store.write() as tx:
            nodes.get(tx, name).agent_features = [Feature.BACKBONE]
    made(client, "/api/configs/wg0/nodes", node_id="ams1")
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    for port, words in (
        (443, "port 443 leads to config 'wg0' itself"),
        (51820, "port 51820 of 192.0.2.1 leads to config 'wg0' on node 'fra1'"),
        (52820, "port 52820 of 192.0.2.1 leads to the backbone of config 'wg0' on node 'fra1'"),
    ):
        body = {"node_id": "fra2", "public_port": 443, "public_backbone_port": port}
        refused(client.post("/api/configs/wg0/nodes", json=body), "public_backbone_port", words)
    shown = made(client, "/api/configs/wg0/nodes", node_id="fra2", public_port=443, public_backbone_port=4500)
    assert shown["public_backbone_port"] == 4500
    assert links(panel, "ams1") == ["192.0.2.1:4500", "192.0.2.1:52820"]
    assert links(panel, "fra2") == ["192.0.2.1:52820", "192.0.2.2:52820"]
    taken = client.patch("/api/configs/wg0/nodes/fra1?force=true", json={"public_port": 4500})
    refused(taken, "public_port", "port 4500 of 192.0.2.1 leads to the backbone of config 'wg0'")
    before = client.get("/api/configs/wg0").json()["generation"]
    path, body = "/api/configs/wg0/nodes/fra2", {"public_backbone_port": 4501}
    (effect,) = client.post(f"{path}/preview", json=body).json()["effects"]
    assert effect.startswith("the other nodes call 'fra2' at UDP port 4501 for the backbone from now on")
    assert client.patch(path, json=body).json()["public_backbone_port"] == 4501
    assert links(panel, "ams1") == ["192.0.2.1:4501", "192.0.2.1:52820"]
    assert client.get("/api/configs/wg0").json()["generation"] > before, "the other nodes hear of it"
    assert client.patch(path, json={"public_backbone_port": None}).status_code == 200
    assert links(panel, "ams1") == ["192.0.2.1:52820", "192.0.2.1:52820"]
    assert client.patch(path, json={"public_backbone_port": 0}).status_code == 422
