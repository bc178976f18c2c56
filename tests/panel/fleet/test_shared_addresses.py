"""Two nodes at one address: refused where one of them could not be reached, said where it is all right."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.certificates import Issued
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services.fleet import node_agents, nodes
from wgfleet.panel.services.fleet.nodes import NodeSpec

HERE, THERE = "203.0.113.7", "203.0.113.8"


@pytest.fixture(autouse=True)
def first(client: httpx.Client) -> dict[str, Any]:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/16"])
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/16"], mode="independent")
    return made(client, "/api/nodes", name="first", endpoint_addresses=[HERE, "2001:db8::7"])


def refused(answer: httpx.Response, field: str, words: str) -> None:
    assert (answer.status_code, answer.json().get("field")) == (409, field), answer.text
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"endpoint_addresses": [HERE]}, "endpoint_addresses[0]"),
        ({"endpoint_addresses": [HERE, THERE]}, "endpoint_addresses[0]"),
        ({"endpoint_addresses": [THERE], "agent_host": HERE}, "agent_host"),
        ({"endpoint_addresses": [HERE], "agent_host": HERE}, "agent_host"),
    ],
)
def test_no_two_agents_are_at_one_host_and_port(client: httpx.Client, values: dict[str, Any], field: str) -> None:
    answer = client.post("/api/nodes", json={"name": "second", **values})
    refused(answer, field, f"the agent of node 'first' is at {HERE}, port 51900")
    assert "first" in str(answer.json()["hints"])
    made(client, "/api/nodes", name="second", endpoint_addresses=[THERE], agent_port=51901)
    changes = {key: value for key, value in values.items() if key == "agent_host"} or {"agent_host": HERE}
    refused(client.patch("/api/nodes/second", json={**changes, "agent_port": 51900}), "agent_host", "node 'first'")
    assert client.patch("/api/nodes/second", json=changes).status_code == 200
    refused(client.patch("/api/nodes/second", json={"agent_port": 51900}), "agent_port", "node 'first'")


def test_nodes_behind_one_address_have_no_config_in_common(client: httpx.Client) -> None:
    second = made(client, "/api/nodes", name="second", endpoint_addresses=[THERE, HERE], agent_port=51901)
    assert (
        second["endpoint_warning"] == f"{HERE} is an address of node 'first' too: no config can be on both at one port"
    )
    assert (
        client.get("/api/nodes/first").json()["endpoint_warning"].startswith(f"{HERE} is an address of node 'second'")
    )
    made(client, "/api/configs/wg0/nodes", node_id="first")
    made(client, "/api/configs/wg1/nodes", node_id="second")
    for config, node in (("wg0", "second"), ("wg1", "first")):
        answer = client.post(f"/api/configs/{config}/nodes", json={"node_id": node})
        refused(answer, "node_id", f"are both at {HERE}, and the config has one port on all its nodes")


@pytest.mark.parametrize("config", ["wg0", "wg1"])
def test_a_node_gets_no_address_of_another_one_that_has_the_same_config(client: httpx.Client, config: str) -> None:
    second = made(client, "/api/nodes", name="second", endpoint_addresses=[THERE], agent_port=51901)
    assert second["endpoint_warning"] is None
    for node in ("first", "second"):
        made(client, f"/api/configs/{config}/nodes", node_id=node)
    answer = client.patch("/api/nodes/second", json={"endpoint_addresses": [THERE, HERE]})
    refused(answer, "endpoint_addresses[1]", f"an address of node 'first', and both have config '{config}'")
    changed = client.patch("/api/nodes/second", json={"endpoint_addresses": ["203.0.113.9"]})
    assert changed.status_code == 200


def test_the_command_that_joins_an_agent_says_its_port(client: httpx.Client) -> None:
    made(client, "/api/nodes", name="second", endpoint_addresses=[HERE], agent_port=51901)
    assert made(client, "/api/nodes/second/join-token")["command"].endswith(" --port 51901")
    assert "--port" not in made(client, "/api/nodes/first/join-token")["command"]


def test_an_agent_does_not_join_at_the_place_of_another(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/nodes", name="second", endpoint_addresses=[HERE], agent_port=51901)
    with panel.store.write() as tx, pytest.raises(Conflict, match="agent of node 'first'") as refusal:
        node_agents.enrolled(
            tx, nodes.get(tx, "second"), agent_port=51900, issued=Issued(None, "k", clock.now() + 1000)
        )
    assert refusal.value.field == "port"


def test_the_machine_of_the_panel_is_one_node(panel: Panel) -> None:
    own = NodeSpec("panel", [THERE], agent_host="127.0.0.1", is_panel_node=True)
    with panel.store.write() as tx:
        nodes.create(tx, "panel", own)
    with panel.store.write() as tx, pytest.raises(Conflict, match="agent of node 'panel' is at") as refusal:
        nodes.create(tx, "test", NodeSpec("second", [THERE]))
    assert refusal.value.field == "endpoint_addresses[0]"
    with panel.store.write() as tx, pytest.raises(Conflict, match="agent of node 'first'") as refusal:
        nodes.update(tx, "panel", nodes.get(tx, "panel"), {"endpoint_addresses": [HERE]})
    assert refusal.value.field == "endpoint_addresses[0]"


def test_an_agent_is_not_at_a_floating_address(client: httpx.Client) -> None:
    group = {"domain": "vpn.example.com", "floating_addresses": [THERE], "address_provider": "l2"}
    assert client.post("/api/configs/wg0/endpoint-group", json=group).is_success
    refused(client.patch("/api/nodes/first", json={"agent_host": THERE}), "agent_host", "is a floating address")
    assert client.patch("/api/nodes/first", json={"agent_host": "203.0.113.9"}).is_success
    answer = client.post(
        "/api/configs/wg0/endpoint-group", json={**group, "floating_addresses": [THERE, "203.0.113.9"]}
    )
    refused(answer, "floating_addresses[1]", "is an address of node 'first' itself and cannot move")
