"""Nodes, groups, endpoint groups and peers: made, shown, changed, deleted over the API."""

import dataclasses
from typing import Any

import httpx
import pytest

from tests.panel.authority import current
from tests.panel.conftest import NO_AUTHORITY, made, served
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.services.access import api_keys
from wgfleet.panel.settings import Settings

SEED_ENDPOINT_GROUP = {
    "domain": "vpn.example.com",
    "port": 51820,
    "ttl": 60,
    "auto_migrate": True,
    "publish_only_healthy": True,
    "min_nodes": 1,
    "cloudflare_zone_id": "0123456789abcdef0123456789abcdef",
    "cloudflare_record_name": "vpn.example.com",
}


def test_lists_are_paged_to_the_end_without_repetition(client: httpx.Client, wg0: dict[str, Any]) -> None:
    made(client, f"/api/configs/{wg0['id']}/peers/batch", count=25)
    seen: list[str] = []
    after: str | None = None
    while True:
        query = {"limit": "10"} | ({"after": after} if after else {})
        page = client.get("/api/configs/wg0/peers", params=query).json()
        seen += [peer["name"] for peer in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert sorted(seen) == sorted(f"user-{i}" for i in range(1, 26))


def test_a_node_is_found_by_id_and_name_and_changed(client: httpx.Client, fra1: dict[str, Any]) -> None:
    group = made(client, "/api/node-groups", name="eu", region="eu-west", priority=10)
    changed = client.patch("/api/nodes/fra1", json={"name": "fra2", "group": "eu", "capacity": 100, "weight": 2}).json()
    assert changed["group_id"] == group["id"]
    assert client.get(f"/api/nodes/{fra1['id']}").json() == client.get("/api/nodes/fra2").json() == changed
    assert client.delete("/api/node-groups/eu").status_code == 409
    assert client.patch("/api/nodes/fra2", json={"group": None}).json()["group_id"] is None
    assert client.delete("/api/node-groups/eu").status_code == 204
    assert client.delete("/api/nodes/fra2").status_code == 204
    assert client.get("/api/nodes").json() == {"items": [], "next": None}


@pytest.mark.usefixtures("fra1")
def test_the_join_command_carries_what_the_agent_needs(client: httpx.Client) -> None:
    joining = made(client, "/api/nodes/fra1/join-token")
    assert joining["command"].split() == [
        "wgfleet", "agent", "enroll", "--panel", str(client.base_url).rstrip("/"), "--token", joining["token"],
    ]  # fmt: skip


@pytest.mark.usefixtures("wg0", "fra1")
def test_the_seeds_calls_work_with_the_seeds_bodies(client: httpx.Client, fra1: dict[str, Any]) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}  # what curl -d sends
    assigned = client.post("/api/configs/wg0/nodes", content='{"node_id": "fra1"}', headers=form)
    assert assigned.status_code == 201
    assert assigned.json()["phase"] == "joining"
    (watched,) = client.get("/api/configs/wg0/health").json()["nodes"]
    assert (watched["phase"], watched["summary"], watched["first_look"]) == (
        "joining",
        assigned.json()["summary"],
        None,
    )
    first = client.post("/api/configs/wg0/endpoint-group", json=SEED_ENDPOINT_GROUP)
    second = client.post("/api/configs/wg0/endpoint-group", json={"domain": "other.example.com", "proxied": False})
    assert (first.status_code, second.status_code) == (201, 200)
    shown = client.get("/api/configs/wg0/endpoint-group").json()
    assert (shown["domain"], shown["cloudflare_zone_id"]) == ("other.example.com", None)
    assert [row["node_name"] for row in client.get("/api/configs/wg0/nodes").json()["items"]] == ["fra1"]
    removal = client.delete(f"/api/configs/wg0/nodes/{fra1['id']}")
    again = client.delete("/api/configs/wg0/nodes/fra1?wait=0.2")
    assert (removal.status_code, again.status_code) == (202, 202)
    assert removal.json()["id"] == again.json()["id"]
    assert client.get(removal.headers["Location"]).json()["kind"] == "remove_node"
    log = client.get("/api/audit-logs?entity_type=config_node&limit=50").json()
    assert [entry["action"] for entry in log["items"]] == ["draining", "assigned"]
    assert log["total"] == 2
    assert client.get("/api/audit-logs?entity_type=config_node&limit=1&offset=1").json()["items"] == log["items"][1:]


@pytest.mark.usefixtures("wg0")
def test_peers_are_made_found_changed_and_deleted(client: httpx.Client) -> None:
    anna = made(client, "/api/configs/wg0/peers", name="anna", networks=["192.168.7.0/24"], addresses=["10.8.0.77"])
    assert "10.8.0.77" in anna["addresses"]
    assert len(anna["addresses"]) == 2
    made(client, "/api/configs/wg0/peers/batch", peers=[{"name": "ben"}, {"name": "cleo", "preshared_key": False}])
    found = client.get("/api/configs/wg0/peers?search=nn").json()["items"]
    assert [peer["name"] for peer in found] == ["anna"]
    changed = client.patch(f"/api/peers/{anna['id']}", json={"name": "anne", "rotate_keys": True}).json()
    assert changed["name"] == "anne"
    assert changed["public_key"] != anna["public_key"]
    assert changed["addresses"] == anna["addresses"]
    assert client.delete(f"/api/peers/{anna['id']}").status_code == 204
    assert client.get(f"/api/peers/{anna['id']}").status_code == 404
    assert client.get("/api/configs/wg0").json()["peers"] == 2


@pytest.mark.parametrize(
    ("settings", "url", "pinned"),
    [
        # Only a proxy can speak TLS there, by a certificate that is not of the panel's CA.
        ({"public_url": "https://panel.example.com"}, "https://panel.example.com", False),
        ({"public_url": "https://example.com/vpn/"}, "https://example.com/vpn", False),
        (
            {"public_url": "https://panel.example.com/", "listen": ("192.0.2.5:8443",)},
            "https://panel.example.com",
            True,
        ),
        ({"listen": ("127.0.0.1:8080", "192.0.2.5:8443")}, "https://192.0.2.5:8443", True),
        ({"listen": ("127.0.0.1:8080", "0.0.0.0:8443")}, None, False),
    ],
)
def test_the_join_command_names_the_address_that_nodes_reach(
    panel: Panel, settings: dict[str, Any], url: str | None, *, pinned: bool
) -> None:
    other = dataclasses.replace(panel, settings=Settings(data_dir=panel.settings.data_dir, **settings))
    with (
        served(create_app(other)) as base_url,
        httpx.Client(base_url=base_url, trust_env=False, verify=NO_AUTHORITY, timeout=120) as client,
    ):
        with panel.store.write() as tx:
            client.headers["X-API-Key"] = api_keys.ensure_first_key(tx) or ""
        made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])
        command = made(client, "/api/nodes/fra1/join-token")["command"]
    assert f"--panel {url or base_url} " in command
    assert (f"--ca-fingerprint {current(panel).fingerprint}" in command) == pinned
