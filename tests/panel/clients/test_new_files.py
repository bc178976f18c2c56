"""Peers whose file is out of date: it was taken, and something that it says was changed since."""

from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from tests.panel.store.plans import explained
from wgfleet.panel.api import Panel
from wgfleet.panel.services.clients import files
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.services.fleet.peer_lists import PeerFilter, PeerOrder
from wgfleet.panel.store import listed_peers

PEERS = "/api/configs/wg0/peers"


@pytest.fixture
def ids(panel: Panel, client: httpx.Client) -> dict[str, str]:
    """Make three peers, of which two took their files."""
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], dns=["9.9.9.9"])
    serve(panel, client, "wg0", "fra1")
    found = {name: made(client, PEERS, name=name)["id"] for name in ("anna", "bert", "never")}
    take(client, found["anna"], found["bert"])
    return found


def take(client: httpx.Client, *peer_ids: str) -> None:
    for peer_id in peer_ids:
        assert client.get(f"/api/peers/{peer_id}/config").status_code == 200


def old(client: httpx.Client, **more: Any) -> list[str]:
    """Return who needs a new file, page by page."""
    found: list[str] = []
    after = None
    while True:
        query = {"needs_new_file": "true", "limit": 1, **more} | ({"after": after} if after else {})
        page = client.get(PEERS, params=query).json()
        found += [each["name"] for each in page["items"]]
        if (after := page["next"]) is None:
            return found


def change(client: httpx.Client, path: str, **body: Any) -> None:
    answer = client.patch(path, json=body)
    assert answer.status_code == 200, answer.text


def test_keys_addresses_and_settings_that_change_are_noticed_until_the_file_is_taken(
    client: httpx.Client, ids: dict[str, str]
) -> None:
    both = ["anna", "bert"]
    assert old(client) == []
    anna = f"/api/peers/{ids['anna']}"
    told: tuple[dict[str, Any], ...] = ({"rotate_keys": True}, {"mtu": 1300}, {"networks": ["192.168.7.0/24"]})
    for body in told:
        change(client, anna, **body)
        assert old(client) == ["anna"], body
        take(client, ids["anna"])
        assert old(client) == [], body
    told = ({"name": "anna2"}, {"name": "anna"}, {"enabled": False}, {"notes": "x"}, {"download_speed": 10**6})
    for body in told:
        change(client, anna, **body)
    change(client, "/api/configs/wg0", dns=["9.9.9.9"], download_speed=10**6)
    assert old(client) == [], "files say none of that"
    told = ({"dns": ["1.1.1.1"]}, {"pools": ["10.8.0.0/24", "10.9.0.0/24"]}, {"listen_port": 51999})
    for body in told:
        change(client, "/api/configs/wg0", **body)
        assert old(client) == both, body
        take(client, ids["anna"])
        assert old(client) == ["bert"], body
        take(client, ids["bert"])
    change(client, "/api/configs/wg0", mtu=1280)
    assert old(client) == ["bert"], "anna has an MTU of her own"


def test_names_and_addresses_that_files_lead_to_are_noticed(client: httpx.Client, ids: dict[str, str]) -> None:
    both = ["anna", "bert"]

    def taken_again() -> None:
        assert old(client) == both
        take(client, ids["anna"], ids["bert"])
        assert old(client) == []

    answer = client.patch("/api/nodes/fra1?force=true", json={"endpoint_addresses": ["192.0.2.77"]})
    assert answer.status_code == 200, answer.text
    taken_again()
    group = "/api/configs/wg0/endpoint-group"
    assert client.post(group, json={"domain": "vpn.example.org"}).status_code in {200, 201}
    taken_again()
    assert client.post(group, json={"domain": "vpn.example.org"}).status_code == 200
    client.patch("/api/nodes/fra1?force=true", json={"endpoint_addresses": ["192.0.2.78"]})
    assert old(client) == [], "files have the name"
    assert client.delete(group).status_code == 204
    taken_again()


def test_tags_are_noticed_where_they_have_settings(client: httpx.Client, ids: dict[str, str]) -> None:
    made(client, "/api/tags", name="plain")
    made(client, "/api/tags", name="small", mtu=1280)
    anna = f"/api/peers/{ids['anna']}"
    change(client, anna, tags=["plain"])
    assert old(client) == []
    change(client, anna, tags=["plain", "small"])
    assert old(client) == ["anna"]
    take(client, ids["anna"])
    change(client, "/api/tags/small", color="#112233")
    assert old(client) == []
    change(client, "/api/tags/small", mtu=1290)
    assert old(client) == ["anna"]
    take(client, ids["anna"])
    assert client.delete("/api/tags/small").status_code == 204
    assert old(client) == ["anna"]


@pytest.mark.usefixtures("ids")
def test_one_filter_counts_everywhere_and_a_zip_takes_the_files(client: httpx.Client) -> None:
    change(client, "/api/configs/wg0", dns=["1.1.1.1"])
    both, query = ["anna", "bert"], {"needs_new_file": "true"}
    for sort in ("created", "name", "traffic", "handshake"):
        assert sorted(old(client, sort=sort)) == both
    assert old(client, search="ann") == ["anna"]
    up_to_date = client.get(PEERS, params={"needs_new_file": "false"}).json()["items"]
    assert [each["name"] for each in up_to_date] == ["never"]
    table = client.get(f"{PEERS}/csv", params=query).text.splitlines()[1:]
    assert [("anna" in line, "bert" in line) for line in table] == [(True, False), (False, True)]
    body = {"filter": {"needs_new_file": True}, "action": "disable"}
    preview = client.post(f"{PEERS}/changes/preview", json=body)
    assert (preview.status_code, preview.json()["peers"]) == (200, 2), preview.text
    first = client.get(PEERS, params=query | {"limit": "1"}).json()["next"]
    assert client.get(PEERS, params={"limit": "1", "after": first}).status_code == 422, "a cursor of another filter"
    assert client.get("/api/configs/wg0/files", params=query | {"search": "bert"}).status_code == 200
    assert old(client) == ["anna"]


@pytest.mark.usefixtures("ids")
def test_the_list_is_read_from_an_index_of_those_alone(panel: Panel, client: httpx.Client) -> None:
    made(client, f"{PEERS}/batch", count=200)  # among three, any index is as good
    with panel.store.engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE peers")
    config_id = client.get("/api/configs/wg0").json()["id"]
    wanted = PeerFilter(config_ids=[config_id], needs_new_file=True)
    with explained(panel.store.engine) as plans, panel.store.read() as tx:
        listed_peers.page(tx, wanted, PeerOrder.MADE, ("0" * 32,), 101)
    assert plans.scans() == []
    assert plans.indexes() == {"ix_peers_with_old_files"}


def test_a_larger_pool_is_in_files_that_exclude_networks(client: httpx.Client, ids: dict[str, str]) -> None:
    change(client, "/api/configs/wg0", pools=["10.8.0.0/23"])
    assert old(client) == [], "files say nothing of it"
    made(client, "/api/tags", name="home", excluded_networks=["10.0.0.0/8"])
    change(client, f"/api/peers/{ids['bert']}", tags=["home"])
    take(client, ids["bert"])
    change(client, "/api/configs/wg0", pools=["10.8.0.0/22"])
    assert old(client) == ["bert"]
    change(client, f"/api/peers/{ids['bert']}", excluded_networks=[])
    change(client, "/api/configs/wg0", excluded_networks=["10.0.0.0/8"])
    take(client, ids["anna"], ids["bert"])
    change(client, "/api/configs/wg0", pools=["10.8.0.0/21"])
    assert old(client) == ["anna"]


def test_a_change_while_the_file_is_read_is_in_it(panel: Panel, client: httpx.Client, ids: dict[str, str]) -> None:
    change(client, f"/api/peers/{ids['anna']}", mtu=1290)
    on_postgresql = panel.store.engine.dialect.name == "postgresql"
    with panel.store.write() as tx:
        peer = peers.get(tx, ids["anna"])
        if on_postgresql:  # with SQLite nobody else writes meanwhile
            change(client, f"/api/peers/{ids['anna']}", mtu=1300)
        (file,) = files.files(tx, panel.vault, "test", peer)
    assert old(client) == []
    assert f"MTU = {1300 if on_postgresql else 1290}" in file.text
