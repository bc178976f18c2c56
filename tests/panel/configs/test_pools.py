"""Pools of a config with peers: made larger, added and removed, with addresses and files that stay as they are."""

from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made, one_database
from tests.panel.world import ACTOR, World
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.pool_changes import PoolChange, change
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import pool_changes
from wgfleet.protocol.desired import DesiredInterface


@pytest.fixture
def full(client: httpx.Client) -> list[dict[str, Any]]:
    """Make a config whose pool is used up."""
    made(client, "/api/configs", name="wg0", pools=["10.8.4.0/30"])
    return [made(client, "/api/configs/wg0/peers", name="anna")]


def patched(client: httpx.Client, *pools: str, config: str = "wg0") -> httpx.Response:
    return client.patch(f"/api/configs/{config}", json={"pools": list(pools)})


def effects(client: httpx.Client, *pools: str) -> str:
    answer = client.post("/api/configs/wg0/preview", json={"pools": list(pools)})
    assert answer.status_code == 200, answer.text
    return "; ".join(answer.json()["effects"])


def addresses(client: httpx.Client, config: str = "wg0") -> dict[str, list[str]]:
    return {peer["name"]: peer["addresses"] for peer in client.get(f"/api/configs/{config}/peers").json()["items"]}


@one_database
def test_a_new_pool_with_too_few_addresses_for_the_peers_is_refused_in_the_preview_too(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.4.0/24"])
    made(client, "/api/configs/wg0/peers/batch", count=2, name_prefix="user-")
    body = {"pools": ["10.8.4.0/24", "10.9.0.0/30"]}
    refused = [client.post("/api/configs/wg0/preview", json=body), client.patch("/api/configs/wg0", json=body)]
    for answer in refused:
        assert (answer.status_code, answer.json()["field"]) == (409, "pools[1]"), answer.text
    assert "its 1 addresses" in refused[0].text


@pytest.mark.usefixtures("full")
def test_a_pool_that_is_used_up_is_made_larger_and_nobody_notices(client: httpx.Client, panel: Panel) -> None:
    serve(panel, client, "wg0", "fra1")
    assert client.post("/api/configs/wg0/peers", json={"name": "bert"}).status_code == 409
    assert effects(client, "10.8.4.0/24") == ("10.8.4.0/30 becomes 10.8.4.0/24: the files of 1 peer stay as they are")
    assert addresses(client) == {"anna": ["10.8.4.2"]}, "a preview changes nothing"
    assert patched(client, "10.8.4.0/24").json()["pools"] == ["10.8.4.0/24"]
    made(client, "/api/configs/wg0/peers", name="bert")
    assert addresses(client) == {"anna": ["10.8.4.2"], "bert": ["10.8.4.3"]}
    refused = patched(client, "10.8.4.0/30")
    assert (refused.status_code, refused.json()["field"]) == (409, "pools[0]")
    assert "1 peer of 10.8.4.0/24 would have an address outside of 10.8.4.0/30" in refused.json()["detail"]
    bert = next(peer for peer in client.get("/api/configs/wg0/peers").json()["items"] if peer["name"] == "bert")
    assert client.delete(f"/api/peers/{bert['id']}").status_code == 204
    assert patched(client, "10.8.4.0/30").json()["pools"] == ["10.8.4.0/30"], "what was made larger is made smaller"
    assert client.post("/api/configs/wg0/peers", json={"name": "carl"}).status_code == 409


def test_a_pool_is_added_and_taken_away_again(client: httpx.Client, panel: Panel, full: list[dict[str, Any]]) -> None:
    serve(panel, client, "wg0", "fra1")
    file = client.get(f"/api/peers/{full[0]['id']}/config").text
    assert "an address of fd00:8::/64 goes to 1 peer" in effects(client, "10.8.4.0/30", "fd00:8::/64")
    assert patched(client, "10.8.4.0/30", "fd00:8::/64").status_code == 200
    assert addresses(client) == {"anna": ["10.8.4.2", "fd00:8::2"]}
    assert "Address = 10.8.4.2/32, fd00:8::2/128\n" in client.get(f"/api/peers/{full[0]['id']}/config").text
    said = effects(client, "10.8.4.0/30")
    assert (
        "the addresses of fd00:8::/64 are taken from 1 peer ('anna'): what devices send from there is dropped" in said
    )
    assert patched(client, "10.8.4.0/30").status_code == 200
    assert client.get(f"/api/peers/{full[0]['id']}/config").text == file
    (undone, done) = client.get("/api/audit-logs", params={"action": "pools_changed"}).json()["items"]
    assert (done["details"]["added"], undone["details"]["removed"]) == (["fd00:8::/64"], ["fd00:8::/64"])
    assert undone["details"]["need_new_files"] == ["anna"]
    assert "need_new_files" not in done["details"]


def test_who_needs_a_new_file_after_a_pool_is_gone_is_named(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.4.0/24", "10.9.4.0/24"])
    names = [f"p{i:03}" for i in range(103)]
    for name in names:
        made(client, "/api/configs/wg0/peers", name=name)
    said = effects(client, "10.8.4.0/24")
    assert f"taken from 103 peers ({', '.join(map(repr, names[:20]))} and 83 more): what" in said
    assert patched(client, "10.8.4.0/24").status_code == 200
    (entry,) = client.get("/api/audit-logs", params={"action": "pools_changed"}).json()["items"]
    assert entry["details"]["need_new_files"] == names[:100]
    assert entry["details"]["need_new_files_too"] == 3


def test_what_is_not_given_stays_and_other_fields_change_along(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], client_allowed_ips=["10.8.0.0/24"], dns=["9.9.9.9"])
    made(client, "/api/configs/wg0/peers", name="anna")
    said = effects(client, "10.8.0.0/16")
    assert "files route 10.8.0.0/24 only: users reach 10.8.0.0/16 once client_allowed_ips has it" in said
    changed = client.patch("/api/configs/wg0", json={"pools": ["10.8.0.0/16"], "client_allowed_ips": ["10.8.0.0/16"]})
    assert (changed.json()["pools"], changed.json()["dns"]) == (["10.8.0.0/16"], ["9.9.9.9"])
    before = changed.json()["generation"]
    assert patched(client, "10.8.0.0/16").json()["generation"] == before, "nothing changes"
    assert client.patch("/api/configs/wg0", json={"keepalive": 20}).json()["pools"] == ["10.8.0.0/16"]


@one_database
@pytest.mark.parametrize(
    ("pools", "words"),
    [
        ([], "pools"),
        (["10.8.1.0/24"], ""),
        (["10.0.0.0/8"], "begins at another address than 10.8.0.0/24"),
        (["10.8.0.0/25", "10.8.0.128/25"], "cannot become two pools"),
        (["10.8.0.0/24", "10.9.0.0/24"], "overlaps 10.9.0.0/24 of config 'other'"),
        (["10.8.0.0/24", "10.7.0.0/16"], "overlaps 10.7.3.0/24, the networks of peer 'office'"),
        (["10.8.0.0/24", "192.0.2.0/24"], "contains 192.0.2.1"),
        (["10.8.0.0/24", "10.8.0.0/24"], "in the same list"),
        (["10.8.0.0/24", "fd00::/64"], "1280"),
        (["banana"], "is not a network"),
        (["10.8.0.0/24", "224.0.0.0/8"], "not a network for hosts"),
        ([f"10.{n}.0.0/24" for n in range(20, 40)], "8"),
    ],
)  # fmt: skip
def test_pools_that_a_config_cannot_have_are_refused_and_nothing_changes(
    client: httpx.Client, pools: list[str], words: str
) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], mtu=1200)
    made(client, "/api/configs", name="other", pools=["10.9.0.0/24"])
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])
    made(client, "/api/configs/wg0/peers", name="office", networks=["10.7.3.0/24"])
    for answer in (
        client.post("/api/configs/wg0/preview", json={"pools": pools}),
        client.patch("/api/configs/wg0", json={"pools": pools}),
    ):
        if not words:
            assert answer.status_code == 200, answer.text
            continue
        assert answer.status_code in {409, 422}, answer.text
        assert words in answer.text
        assert client.get("/api/configs/wg0").json()["pools"] == ["10.8.0.0/24"]


def test_nodes_of_an_independent_config_get_a_slice_of_a_new_pool(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs", name="wg0", mode="independent", pools=["10.8.0.0/24"])
    serve(panel, client, "wg0", "fra1", "ams1")
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    assert len(addresses(client)["anna"]) == 2
    assert patched(client, "10.8.0.0/24", "fd00:8::/64").status_code == 200
    found = addresses(client)["anna"]
    assert len(found) == 4
    assert len({address for address in found if ":" in address}) == 2
    files = client.get(f"/api/peers/{peer['id']}/configs").json()["items"]
    assert all("fd00:8:" in file["text"] for file in files)
    refused = patched(client, "10.8.0.0/16", "fd00:8::/64")
    assert "is cut into slices" in refused.json()["detail"]
    assert patched(client, "10.8.0.0/24").status_code == 200
    assert addresses(client)["anna"] == [address for address in found if ":" not in address]


def test_nodes_get_addresses_of_a_new_pool_for_all_peers(world: World) -> None:
    config = world.config()
    (fra1,) = world.serving(config, "fra1")
    world.peers(config, "anna", "bert")
    world.sync(config, fra1)
    for pools in (["10.8.0.0/24", "fd00:8::/64"], ["10.8.0.0/16", "fd00:8::/64"], ["10.8.0.0/24"]):
        with world.store.write() as tx:
            pool_changes.change(tx, ACTOR, configs.get(tx, config.id), pools)
        world.sync(config, fra1)
        wanted = world.whole(config, fra1)
        assert isinstance(wanted, DesiredInterface)
        assert world.agents[fra1.id, config.id] == wanted
        users = [peer for peer in wanted.peers.values() if peer.allowed_ips]
        assert [len(peer.allowed_ips) for peer in users] == [len(pools)] * 2
        assert any(address.endswith(pools[0][-3:]) for address in wanted.settings.addresses)


def test_what_becomes_of_pools() -> None:
    old = ["10.8.0.0/24", "fd00::/64"]
    assert not change(old, ["fd00::/64", "10.8.0.0/24"])
    assert change(old, ["10.8.0.0/16"]) == PoolChange(resized=(("10.8.0.0/24", "10.8.0.0/16"),), removed=("fd00::/64",))
    with pytest.raises(Conflict, match="cannot be made one"):
        change(["10.8.0.0/24", "10.8.1.0/24"], ["10.8.0.0/16"])


@pytest.mark.parametrize("pool", ["10.8.4.0/31", "10.8.4.0/32", "fd00:4::/127", "fd00:4::/128"])
def test_a_pool_without_room_for_a_network_is_refused_wherever_it_is_asked_for(client: httpx.Client, pool: str) -> None:
    larger = pool.replace("/31", "/29").replace("/32", "/29").replace("/127", "/120").replace("/128", "/120")
    said = f"{pool}: an IPv{6 if ':' in pool else 4} pool is "
    refused = client.post("/api/configs", json={"name": "wg0", "pools": [pool]})
    assert (refused.status_code, refused.json()["field"], said in refused.json()["detail"]) == (422, "pools[0]", True)
    made(client, "/api/configs", name="wg0", pools=[larger])
    for more in ([pool], [larger, pool.replace("4", "9", 1)]):
        refused = patched(client, *more)
        assert (refused.status_code, "pool is /" in refused.json()["detail"]) == (422, True), refused.text
    assert client.get("/api/configs/wg0").json()["pools"] == [larger]
