"""Floating addresses over the API and the commands."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.errors import TransientError
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import assignments
from wgfleet.panel.services.floating import attempts
from wgfleet.panel.store import assignments as assignment_rows

PATH = "/api/configs/wg0/floating-addresses"
ADDRESS = "203.0.113.10"


def put(client: httpx.Client, *addresses: str, **more: Any) -> httpx.Response:
    body = {"domain": "vpn.example.com", "floating_addresses": list(addresses), "address_provider": "l2", **more}
    return client.post("/api/configs/wg0/endpoint-group", json=body)


@pytest.fixture
def nodes(panel: Panel, client: httpx.Client, wg0: dict[str, Any]) -> list[str]:
    """Two nodes that serve wg0; their ids."""
    ids = []
    for number, name in enumerate(("fra1", "ams1"), 1):
        node = made(client, "/api/nodes", name=name, endpoint_addresses=[f"192.0.2.{number}"])
        made(client, "/api/configs/wg0/nodes", node_id=node["id"])
        ids.append(node["id"])
        with panel.store.write() as tx:
            generation = configs.get(tx, wg0["id"]).generation
            assignments.confirmed(tx, wg0["id"], node["id"], generation, (), "in sync", held=())
    return ids


def test_the_endpoint_group_says_which_addresses_there_are(client: httpx.Client, wg0: dict[str, Any]) -> None:
    answer = put(client, "203.0.113.10", "2001:DB8:0::0010")
    assert answer.status_code == 201, answer.text
    assert answer.json()["floating_addresses"] == ["2001:db8::10", "203.0.113.10"]
    assert answer.json()["address_provider"] == "l2"
    assert answer.json()["address_options"] == {}
    assert [item["node_id"] for item in client.get(PATH).json()["items"]] == [None, None]
    assert [item["conflict"] for item in client.get(PATH).json()["items"]] == [None, None]
    assert "wgfleet_floating_unheld 2.0" in client.get("/metrics").text
    assert "wgfleet_floating_conflicts 0.0" in client.get("/metrics").text
    assert put(client).json()["floating_addresses"] == []
    assert client.get(PATH).json()["items"] == []
    assert wg0["mode"] == "cluster"


def test_what_cannot_float_is_refused_with_the_field(client: httpx.Client, nodes: list[str]) -> None:
    assert len(nodes) == 2
    answer = put(client, "203.0.113.10", "192.0.2.1")
    assert (answer.status_code, answer.json()["field"]) == (409, "floating_addresses[1]")
    answer = put(client, "nonsense")
    assert (answer.status_code, answer.json()["field"]) == (422, "floating_addresses[0]")
    answer = put(client, ADDRESS, address_options={"token": "secret"})
    assert (answer.status_code, answer.json()["field"]) == (422, "address_options.token")
    assert "secret" not in answer.text
    answer = put(client, ADDRESS, address_provider="none")
    assert (answer.status_code, answer.json()["field"]) == (422, "address_provider")
    assert client.get("/api/configs/wg0/endpoint-group").status_code == 404


def test_an_address_is_moved_by_an_operation(client: httpx.Client, nodes: list[str]) -> None:
    put(client, ADDRESS)
    (found,) = client.get(PATH).json()["items"]
    assert (found["node_id"], found["node_name"], found["in_use"], found["leaving_node_id"]) == (
        nodes[0],
        "fra1",
        True,
        None,
    )
    answer = client.post(f"{PATH}/{ADDRESS}/move", json={"node": "ams1"})
    assert answer.status_code == 202, answer.text
    assert answer.json()["kind"] == "move_address"
    assert answer.headers["Location"] == f"/api/operations/{answer.json()['id']}"
    assert client.post(f"{PATH}/{ADDRESS}/move", json={"node": nodes[1]}).json()["id"] == answer.json()["id"]
    entries = client.get("/api/audit-logs", params={"entity_type": "floating_address", "entity_id": ADDRESS}).json()
    assert entries["items"][0]["action"] == "move_started"


def test_a_move_that_cannot_be_is_refused(panel: Panel, client: httpx.Client, nodes: list[str]) -> None:
    put(client, ADDRESS)
    assert client.post(f"{PATH}/{ADDRESS}/move", json={"node": "fra1"}).status_code == 409
    assert client.post(f"{PATH}/{ADDRESS}/move", json={"node": "nobody"}).status_code == 404
    assert client.post(f"{PATH}/203.0.113.99/move", json={"node": "ams1"}).status_code == 404
    assert client.post(f"{PATH}/nonsense/move", json={"node": "ams1"}).status_code == 422
    with panel.store.write() as tx:
        assignment = assignment_rows.get(tx, configs.get(tx, "wg0").id, nodes[1])
        assert assignment is not None
        assignment_rows.applied(tx, assignment.id, health="down")
    answer = client.post(f"{PATH}/{ADDRESS}/move", json={"node": "ams1"})
    assert (answer.status_code, answer.json()["field"]) == (409, "node")


def test_what_a_provider_fails_at_is_shown_until_it_succeeds(
    panel: Panel, client: httpx.Client, nodes: list[str]
) -> None:
    put(client, ADDRESS)
    (well,) = client.get(PATH).json()["items"]
    assert (well["error"], well["failing_since"], well["attempts"], well["next_try_at"]) == (None, None, 0, None)
    with panel.store.write() as tx:
        config_id = configs.get(tx, "wg0").id
        attempts.failed(tx, config_id, {ADDRESS: nodes[0]}, TransientError("503", retry_after_s=7))
    found = client.get(f"{PATH}/{ADDRESS}").json()
    assert (found["error"], found["attempts"]) == ("503", 1)
    assert found["failing_since"] < found["next_try_at"]
    assert client.get(PATH).json()["items"] == [found]
    assert "wgfleet_floating_failing 1.0" in client.get("/metrics").text
    with panel.store.write() as tx:
        attempts.succeeded(tx, config_id, ADDRESS)
    assert client.get(f"{PATH}/{ADDRESS}").json() == well
    assert "wgfleet_floating_failing 0.0" in client.get("/metrics").text
    assert client.get(f"{PATH}/203.0.113.99").status_code == 404
