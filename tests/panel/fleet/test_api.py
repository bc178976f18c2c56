"""Configs, nodes, groups, endpoint groups, peers and files: made, shown, changed, deleted over the API."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.panel.conftest import made, served
from tests.panel.tables import snapshot
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.services import generations
from wgfleet.panel.services.access import api_keys
from wgfleet.panel.settings import Settings
from wgfleet.panel.store.tables import Config

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


def test_a_cluster_gets_a_key_that_is_sealed_at_rest(client: httpx.Client, panel: Panel, wg0: dict[str, Any]) -> None:
    assert wg0["generation"] == 1
    assert wg0["public_key"]
    with panel.store.read() as tx:
        row = tx.session.get_one(Config, wg0["id"])
        assert row.private_key_sealed is not None
        private_key = panel.vault.open(row.private_key_sealed, f"configs.private_key:{row.id}")
    assert len(private_key) == 44
    assert private_key not in client.get("/api/configs").text
    assert private_key not in client.get("/api/audit-logs").text


def test_an_independent_config_has_no_key_of_its_own(client: httpx.Client) -> None:
    config = made(client, "/api/configs", name="wg0", mode="independent", pools=["10.8.0.0/20"])
    assert config["public_key"] is None
    answer = client.post("/api/configs/wg0/endpoint-group", json=SEED_ENDPOINT_GROUP)
    assert answer.status_code == 422


def test_configs_get_the_first_free_port(client: httpx.Client) -> None:
    ports = [
        made(client, "/api/configs", name=f"wg{i}", pools=[f"10.{i}.0.0/16"], **body)["listen_port"]
        for i, body in enumerate(({}, {"listen_port": 51821}, {}))
    ]
    assert ports == [51820, 51821, 51822]


@pytest.mark.usefixtures("wg0")
def test_only_what_nodes_must_have_moves_the_generation(client: httpx.Client) -> None:
    def after(**changes: Any) -> int:
        answer = client.patch("/api/configs/wg0", json=changes)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["generation"])

    assert after(dns=["10.8.0.1", "example.com"]) == 1
    assert after(mtu=1420) == 2
    assert after(mtu=1420) == 2
    assert after(mtu=None) == 3
    assert after(listen_port=51999) == 4


@pytest.mark.usefixtures("wg0")
def test_deleting_a_config_takes_its_peers_along(client: httpx.Client, panel: Panel) -> None:
    before = {"configs", "pools", "peers", "addresses", "free_offsets"}
    made(client, "/api/configs/wg0/peers/batch", count=5)
    made(client, "/api/configs/wg0/endpoint-group", **SEED_ENDPOINT_GROUP)
    assert client.delete("/api/configs/wg0").status_code == 204
    after = snapshot(panel.store)
    assert all(not after[table] for table in {*before, "endpoint_groups"})
    assert client.get("/api/configs/wg0").status_code == 404


@pytest.mark.usefixtures("wg0")
def test_a_pool_can_be_used_again_once_its_config_is_gone(client: httpx.Client) -> None:
    client.delete("/api/configs/wg0")
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/16"])


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
def test_a_file_and_its_qr_codes_are_for_the_owner_only(client: httpx.Client) -> None:
    made(client, "/api/configs/wg0/endpoint-group", **SEED_ENDPOINT_GROUP)
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    path = f"/api/peers/{peer['id']}"
    file = client.get(f"{path}/config")
    assert file.headers["Content-Type"].startswith("text/plain")
    assert file.headers["Content-Disposition"] == 'attachment; filename="wg0.conf"'
    assert file.headers["Cache-Control"] == "no-store"
    assert "Endpoint = vpn.example.com:51820" in file.text
    files = client.get(f"{path}/configs").json()["items"]
    assert [(each["file_name"], each["text"]) for each in files] == [("wg0.conf", file.text)]
    png, svg = client.get(f"{path}/qr"), client.get(f"{path}/qr?format=svg")
    assert png.content.startswith(b"\x89PNG")
    assert b"<svg" in svg.content
    assert client.get(f"{path}/qr?format=gif").status_code == 422


@pytest.mark.usefixtures("wg0")
def test_a_config_without_endpoint_says_what_a_file_lacks(client: httpx.Client) -> None:
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    answer = client.get(f"/api/peers/{peer['id']}/config")
    assert answer.status_code == 409
    assert "assign a node" in answer.json()["detail"]


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


def test_concurrent_transactions_never_share_a_generation(panel: Panel, wg0: dict[str, Any]) -> None:
    def bump(_: int) -> int:
        with panel.store.write() as tx:
            return generations.bump(tx, wg0["id"])

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(bump, range(40))) == list(range(2, 42))


def test_of_many_that_make_the_same_config_one_wins(client: httpx.Client, panel: Panel) -> None:
    def make(i: int) -> int:
        return client.post("/api/configs", json={"name": "wg0", "pools": [f"10.{i}.0.0/16"]}).status_code

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(make, range(8))) == [201, *[409] * 7]
    assert len(snapshot(panel.store)["configs"]) == 1


def test_of_many_overlapping_pools_one_wins(client: httpx.Client, panel: Panel) -> None:
    def make(i: int) -> int:
        return client.post("/api/configs", json={"name": f"wg{i}", "pools": [f"10.0.0.0/{16 + i}"]}).status_code

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(make, range(8))) == [201, *[409] * 7]
    assert len(snapshot(panel.store)["pools"]) == 1


@pytest.mark.parametrize(
    ("settings", "url", "pinned"),
    [
        ({"public_url": "https://panel.example.com"}, "https://panel.example.com", True),
        ({"listen": ("127.0.0.1:8080", "192.0.2.5:8443")}, "https://192.0.2.5:8443", True),
        ({"listen": ("127.0.0.1:8080", "0.0.0.0:8443")}, None, False),
    ],
)
def test_the_join_command_names_the_address_that_nodes_reach(
    panel: Panel, settings: dict[str, Any], url: str | None, *, pinned: bool
) -> None:
    other = dataclasses.replace(panel, settings=Settings(data_dir=panel.settings.data_dir, **settings))
    with served(create_app(other)) as base_url, httpx.Client(base_url=base_url, trust_env=False, timeout=120) as client:
        with panel.store.write() as tx:
            client.headers["X-API-Key"] = api_keys.ensure_first_key(tx) or ""
        made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])
        command = made(client, "/api/nodes/fra1/join-token")["command"]
    assert f"--panel {url or base_url} " in command
    assert (f"--ca-fingerprint {panel.authority.fingerprint}" in command) == pinned
