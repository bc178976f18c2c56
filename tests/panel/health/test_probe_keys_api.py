"""The rotation of probe keys in the API: who may begin one, what it shows, and which keys are taken."""

from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import probe_keys
from wgfleet.panel.store.tables import Assignment


@pytest.fixture
def wg0_nodes(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    for number, name in enumerate(("fra1", "ams1"), start=1):
        made(client, "/api/nodes", name=name, endpoint_addresses=[f"192.0.2.{number}"])
        made(client, "/api/configs/wg0/nodes", node_id=name)


@pytest.mark.usefixtures("wg0_nodes")
def test_an_administrator_begins_a_rotation_and_everybody_sees_how_far_it_is(
    client: httpx.Client, panel: Panel
) -> None:
    path = "/api/configs/wg0/probe-keys"
    before = client.get(path).json()
    assert before["rotation"] is None
    with panel.store.write() as tx:
        tx.session.execute(update(Assignment).values(phase=Phase.SERVING))
    writer = made(client, "/api/keys", name="ci", scopes=["read", "write", "nodes"])["key"]
    refused = client.post(path, headers={"Authorization": f"Bearer {writer}"})
    assert refused.status_code == 403
    begun = client.post(path)
    assert begun.status_code == 202
    shown: dict[str, Any] = client.get(path, headers={"Authorization": f"Bearer {writer}"}).json()
    assert shown == begun.json()
    assert shown["public_key"] == before["public_key"]
    assert (shown["rotation"]["step"], shown["rotation"]["waits_for"]) == ("spread", ["ams1", "fra1"])
    again = client.post(path)
    assert again.status_code == 409
    assert "waits for ams1, fra1" in again.json()["detail"]
    (entry,) = client.get("/api/audit-logs", params={"action": "probe_keys_rotating"}).json()["items"]
    assert entry["actor"] == shown["rotation"]["requested_by"]


@pytest.mark.usefixtures("wg0_nodes")
def test_no_peer_gets_a_key_that_is_about_to_be_a_probes(client: httpx.Client, panel: Panel) -> None:
    client.post("/api/configs/wg0/probe-keys")
    with panel.store.read() as tx:
        keys = probe_keys.in_use(tx, configs.get(tx, "wg0"))
    assert len(keys) == 6
    for key in keys:
        assert client.post("/api/configs/wg0/peers", json={"name": "p", "public_key": key}).status_code == 409
