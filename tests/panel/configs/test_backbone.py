"""Backbones as settings of a config, and what its nodes get of them."""

from typing import Any

import httpx
import pytest

from tests.panel.configs.test_reach import patched
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.domain import backbone as ports
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import desired, node_agents, nodes
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.protocol.backbone import Backbone
from wgfleet.protocol.desired import check_settings
from wgfleet.protocol.features import ALL, NONE, Feature, for_agent
from wgfleet.protocol.keys import public_key_of


def pushed(panel: Panel) -> dict[str, Backbone | None]:
    """Return what each node of wg0 gets."""
    found = {}
    with panel.store.read() as tx:
        config = configs.get(tx, "wg0")
        for assignment, node in assignment_rows.of_config(tx, config.id):
            settings = desired.whole(tx, panel.vault, config, assignment).settings
            check_settings(settings)
            assert for_agent(settings, ALL - {Feature.BACKBONE}).backbone is None
            found[node.name] = settings.backbone
    return found


def report(panel: Panel, name: str, known: frozenset[Feature]) -> None:
    with panel.store.write() as tx:
        node_agents.reported(tx, nodes.get(tx, name).id, connected=True, known=known)


@pytest.fixture
def three(client: httpx.Client, wg0: dict[str, Any], panel: Panel) -> None:
    for number, name in enumerate(("ams1", "ber1", "cph1"), 1):
        made(client, "/api/nodes", name=name, endpoint_addresses=[f"192.0.2.{number}"])
        made(client, f"/api/configs/{wg0['id']}/nodes", node_id=name)
        report(panel, name, ALL)


@pytest.mark.usefixtures("three")
def test_nodes_get_links_to_each_other_where_that_is_wanted(
    client: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(pushed(panel).values()) == {None}
    shown = patched(client, "wg0", backbone=True)
    assert (shown["backbone"], shown["backbone_port"], shown["client_to_client"]) == (True, 52820, True)
    found = pushed(panel)
    for name, backbone in found.items():
        assert backbone is not None
        assert {node.name for node in backbone.nodes} == found.keys() - {name}
        for node in backbone.nodes:
            other = found[node.name]
            assert other is not None
            assert (node.number, node.public_key) == (other.number, public_key_of(other.private_key))
    ams1 = found["ams1"]
    assert ams1 is not None
    assert shown["backbone_warning"] is None
    monkeypatch.setattr(ports, "MEANT_FOR", 2)
    assert "3 nodes are linked" in client.get("/api/configs/wg0").json()["backbone_warning"]
    assert (ams1.port, ams1.tunnel_port) == (52820, 53820)
    assert [node.endpoint for node in ams1.nodes] == ["192.0.2.2:52820", "192.0.2.3:52820"]
    assert patched(client, "wg0", backbone_port=443)["backbone_port"] == 443
    assert set(pushed(panel)) == found.keys()
    report(panel, "cph1", ALL - {Feature.BACKBONE})
    assert client.get("/api/configs/wg0").json()["client_to_client_on"] == []
    shown = patched(client, "wg0", client_to_client=False)
    assert (shown["backbone"], shown["client_to_client"], shown["client_to_client_on"]) == (True, False, ["cph1"])
    assert client.get("/api/configs").json()["items"][0]["client_to_client_on"] == ["cph1"]
    report(panel, "cph1", ALL)
    assert client.get("/api/configs/wg0").json()["client_to_client_on"] == []
    assert set(pushed(panel).values()) == {None}, "users that are kept apart need no links"


def ends(panel: Panel) -> dict[str, set[str]]:
    """Return which nodes of wg0 are at the other ends of each node's links."""
    return {name: set() if each is None else {node.name for node in each.nodes} for name, each in pushed(panel).items()}


@pytest.mark.usefixtures("three")
def test_a_node_that_leaves_or_does_not_know_of_it_is_at_no_end_of_a_link(client: httpx.Client, panel: Panel) -> None:
    before = patched(client, "wg0", backbone=True)["generation"]
    report(panel, "cph1", NONE)

    assert client.get("/api/configs/wg0").json()["generation"] == before + 1, "the others have to hear of it"
    assert ends(panel)["ams1"] == {"ber1"}
    report(panel, "cph1", ALL)
    report(panel, "cph1", ALL)
    assert client.get("/api/configs/wg0").json()["generation"] == before + 2
    assert ends(panel)["ams1"] == {"ber1", "cph1"}
    keys = {each.private_key for each in pushed(panel).values() if each is not None}
    assert client.delete("/api/configs/wg0/nodes/cph1", params={"force": True}).status_code == 202
    assert client.patch("/api/nodes/ber1", json={"endpoint_addresses": ["192.0.2.9"], "name": "ber9"}).is_success
    ams1 = pushed(panel)["ams1"]
    assert ams1 is not None
    assert ("ber9", "192.0.2.9:52820") in {(node.name, node.endpoint) for node in ams1.nodes}
    assert len(keys) == 3


def noticed(client: httpx.Client, path: str, **body: Any) -> str:
    answer = client.post(f"/api/{path}/preview", json=body)
    assert answer.status_code == 200, answer.text
    return " | ".join(answer.json()["effects"])


@pytest.mark.usefixtures("three")
def test_links_stay_within_node_groups_where_that_is_wanted_and_who_is_parted_is_said_beforehand(
    client: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(client, "/api/configs/wg0/peers", name="anna")
    made(client, "/api/node-groups", name="north")
    for node in ("ams1", "ber1"):
        assert client.patch(f"/api/nodes/{node}", json={"group": "north"}).is_success
    monkeypatch.setattr(ports, "MEANT_FOR", 1)
    assert "3 nodes" in patched(client, "wg0", backbone=True)["backbone_warning"]
    assert noticed(client, "nodes/cph1", group="north") == ""
    assert "same node group" in noticed(client, "configs/wg0", backbone_within_groups=True)
    shown = patched(client, "wg0", backbone_within_groups=True)
    assert "2 nodes" in shown["backbone_warning"]
    assert ends(panel) == {"ams1": {"ber1"}, "ber1": {"ams1"}, "cph1": set()}
    assert "'cph1'" in noticed(client, "nodes/cph1", group="north")
    assert client.patch("/api/nodes/cph1", json={"group": "north"}).is_success
    assert client.get("/api/configs/wg0").json()["generation"] == shown["generation"] + 1, "all have to hear of it"
    assert ends(panel)["cph1"] == {"ams1", "ber1"}
    assert "same node only" in noticed(client, "configs/wg0", backbone=False)
    for node in ("ams1", "ber1", "cph1"):
        assert client.patch(f"/api/nodes/{node}", json={"group": None}).is_success
    assert ends(panel)["cph1"] == {"ams1", "ber1"}, "those of no group are linked with each other"
    assert noticed(client, "configs/wg0", backbone_within_groups=False) == ""


@pytest.mark.usefixtures("three")
def test_ports_that_another_config_has_and_independent_configs_are_refused(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"], listen_port=52820)
    refused = client.patch("/api/configs/wg0", json={"backbone": True})
    assert refused.status_code == 409
    assert refused.json()["field"] == "backbone_port"
    assert "52820" in refused.json()["detail"]
    for port in (51820, 50820):
        assert client.patch("/api/configs/wg0", json={"backbone": True, "backbone_port": port}).status_code == 409
    assert patched(client, "wg0", backbone=True, backbone_port=40000)["backbone_port"] == 40000
    body = {"name": "wg2", "pools": ["10.10.0.0/24"], "listen_port": 40000}
    answer = client.post("/api/configs", json=body)
    assert (answer.status_code, answer.json()["field"]) == (409, "listen_port")
    for port in (40000, 41000):
        body = {"name": "wg2", "pools": ["10.10.0.0/24"], "listen_port": port - 1000, "backbone": True}
        assert client.post("/api/configs", json=body).status_code == 409
    independent = {"name": "wg3", "mode": "independent", "pools": ["10.11.0.0/24"], "backbone": True}
    answer = client.post("/api/configs", json=independent)
    assert (answer.status_code, answer.json()["field"]) == (409, "backbone")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("port", [51821, 50821])
def test_a_config_that_names_no_port_gets_none_of_a_backbone(client: httpx.Client, port: int) -> None:
    patched(client, "wg0", backbone=True, backbone_port=port)
    assert made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])["listen_port"] == 51822


@pytest.mark.usefixtures("three")
def test_no_config_and_no_backbone_gets_the_port_of_the_agents_news(client: httpx.Client) -> None:
    for change, field in (
        ({"listen_port": 51899}, "listen_port"),
        ({"backbone": True, "backbone_port": 51899}, "backbone_port"),
        ({"backbone": True, "backbone_port": 50899}, "backbone_port"),
        ({"backbone": True, "listen_port": 50899}, "backbone_port"),
    ):
        refused = client.patch("/api/configs/wg0", json=change)
        assert (refused.status_code, refused.json()["field"]) == (409, field), change
        assert "51899" in refused.json()["detail"]
    body = {"name": "wg1", "pools": ["10.9.0.0/24"], "listen_port": 51899}
    assert client.post("/api/configs", json=body).status_code == 409
