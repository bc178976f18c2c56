"""Configs over the API: made, changed and deleted, their keys, pools and generations."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from tests.panel.fleet.test_api import SEED_ENDPOINT_GROUP
from tests.panel.tables import snapshot
from wgfleet.panel.api import Panel
from wgfleet.panel.services import generations
from wgfleet.panel.store.tables import Config


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
    answer = client.post("/api/configs/wg0/endpoint-group", json={**SEED_ENDPOINT_GROUP, "port": 443})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "port")


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

    assert after(dns=["9.9.9.9", "example.com"]) == 1
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
