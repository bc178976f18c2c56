"""Own devices that are limited to nodes: the limit outlives them, and a device made later has it too."""

from typing import Any

import httpx
import pytest

from tests.panel.access.people import new_user, signed_in
from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.store import peer_nodes as peer_node_rows

pytestmark = pytest.mark.usefixtures("quick_hashes")


@pytest.fixture
def anna(panel: Panel, client: httpx.Client) -> dict[str, str]:
    """Somebody who makes her own devices in an independent config of three nodes."""
    made(client, "/api/configs", name="wg1", mode="independent", pools=["10.9.0.0/24"])
    made(client, "/api/node-groups", name="eu")
    serve(panel, client, "wg1", "fra1", "ber1", "nyc1")
    new_user(client, "anna", "self-service", device_limit=4)
    return signed_in(client)


def limit(client: httpx.Client, peer: dict[str, Any], nodes: list[str] | None) -> None:
    answer = client.patch(f"/api/peers/{peer['id']}", json={"nodes": nodes})
    assert answer.status_code == 200, answer.text


def make(client: httpx.Client, me: dict[str, str], name: str) -> dict[str, Any]:
    answer = client.post("/api/me/devices", json={"name": name}, headers=me)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_device_made_later_may_use_what_the_others_may(client: httpx.Client, anna: dict[str, str]) -> None:
    phone = make(client, anna, "phone")
    assert phone["nodes"] is None, "nothing was decided"
    limit(client, phone, ["nyc1"])
    tablet = make(client, anna, "tablet")
    assert tablet["nodes"] == ["nyc1"]
    ids = {each["name"]: each["id"] for each in client.get("/api/nodes").json()["items"]}
    assert client.get(f"/api/peers/{tablet['id']}").json()["home_node_id"] == ids["nyc1"]
    limit(client, tablet, ["eu", "fra1"])
    assert make(client, anna, "laptop")["nodes"] == ["eu", "fra1", "nyc1"]
    limit(client, phone, None)
    assert make(client, anna, "pc")["nodes"] is None


def test_the_last_device_that_is_limited_is_not_the_users_to_delete(client: httpx.Client, anna: dict[str, str]) -> None:
    phone = make(client, anna, "phone")
    limit(client, phone, ["nyc1"])
    tablet = make(client, anna, "tablet")
    assert client.delete(f"/api/me/devices/{phone['id']}", headers=anna).status_code == 204
    refused = client.delete(f"/api/me/devices/{tablet['id']}", headers=anna)
    assert refused.status_code == 403
    assert "give it new keys" in refused.json()["detail"]
    assert client.post(f"/api/me/devices/{tablet['id']}/rotate", json={}, headers=anna).status_code == 200
    limit(client, tablet, None)
    assert client.delete(f"/api/me/devices/{tablet['id']}", headers=anna).status_code == 204


def test_a_node_that_is_gone_limits_later_devices_too(panel: Panel, client: httpx.Client, anna: dict[str, str]) -> None:
    phone = make(client, anna, "phone")
    with panel.store.write() as tx:
        peer_node_rows.put(tx, {phone["id"]: {"f" * 32}})
    assert make(client, anna, "tablet")["nodes"] == ["f" * 32]


def test_devices_in_other_configs_and_of_others_do_not_count(client: httpx.Client, anna: dict[str, str]) -> None:
    limit(client, make(client, anna, "phone"), ["nyc1"])
    new_user(client, "bea", "self-service", device_limit=4)
    assert make(client, signed_in(client, "bea"), "phone")["nodes"] is None
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    answer = client.post("/api/me/devices", json={"name": "pc", "config": "wg0"}, headers=anna)
    assert (answer.status_code, answer.json()["nodes"]) == (201, None), answer.text
