"""Who is limited to node groups neither names nor lifts other nodes of peers: what others set of these stays."""

from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs, peer_changes
from wgfleet.panel.services.fleet import peer_nodes
from wgfleet.panel.store import peers as peer_rows

PEERS = "/api/configs/wg1/peers"
CSV = {"Content-Type": "text/csv"}
UPDATE = {"existing": "update"}
KEPT = ["eu", "nyc1"]


@pytest.fixture
def me(panel: Panel, client: httpx.Client) -> dict[str, str]:
    """Return a key limited to a config and to the node group of two of its three nodes; make peers."""
    made(client, "/api/configs", name="wg1", mode="independent", pools=["10.9.0.0/24"])
    made(client, "/api/node-groups", name="eu")
    serve(panel, client, "wg1", "fra1", "ber1", "nyc1")
    for name in ("fra1", "ber1"):
        assert client.patch(f"/api/nodes/{name}", json={"group": "eu"}).status_code == 200
    for name, nodes in (("all", None), ("far", ["nyc1"]), ("near", ["fra1"]), ("both", ["fra1", "nyc1"])):
        made(client, PEERS, name=name, nodes=nodes)
    key = made(client, "/api/keys", name="k", scopes=["read", "write"], configs=["wg1"], node_groups=["eu"])["key"]
    return {"Authorization": f"Bearer {key}"}


def usable(client: httpx.Client) -> dict[str, Any]:
    return {each["name"]: each["nodes"] for each in client.get(PEERS).json()["items"]}


def peer(client: httpx.Client, name: str) -> str:
    (found,) = (each["id"] for each in client.get(PEERS).json()["items"] if each["name"] == name)
    return f"/api/peers/{found}"


def test_a_change_of_one_peer_neither_names_nor_lifts_what_is_outside(client: httpx.Client, me: dict[str, str]) -> None:
    before = usable(client)
    refused: list[tuple[str, list[str] | None]] = [
        ("far", None),
        ("near", None),
        ("both", None),
        ("all", ["nyc1"]),
        ("near", ["fra1", "nyc1"]),
        ("far", ["nowhere"]),
    ]
    for name, nodes in refused:
        answer = client.patch(peer(client, name), json={"nodes": nodes}, headers=me)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "nodes"), f"{name} {nodes}"
        assert usable(client) == before
    answer = client.patch(peer(client, "all"), json={"nodes": None, "notes": "x"}, headers=me)
    assert answer.status_code == 200, "it may use all already"
    kept: list[tuple[str, list[str], list[str]]] = [
        ("far", ["nyc1"], ["nyc1"]),
        ("far", ["fra1"], ["fra1", "nyc1"]),
        ("both", ["eu"], KEPT),
        ("both", ["eu", "nyc1"], KEPT),
        ("near", ["eu"], ["eu"]),
        ("all", ["ber1"], ["ber1"]),
    ]
    for name, nodes, then in kept:
        answer = client.patch(peer(client, name), json={"nodes": nodes}, headers=me)
        assert (answer.status_code, answer.json()["nodes"]) == (200, then), f"{name} {nodes}: {answer.text}"
    assert client.patch(peer(client, "near"), json={"nodes": None}).status_code == 200, "who has no limit may"


def test_a_table_neither_names_nor_lifts_what_is_outside(client: httpx.Client, me: dict[str, str]) -> None:
    before = usable(client)
    for nodes in ("far,", "near,", "both,", "all,nyc1", "near,fra1 nyc1"):
        table = f"name,nodes\n{nodes}\n"
        answer = client.post(f"{PEERS}/csv/preview", content=table, headers=me | CSV, params=UPDATE)
        problems = [each["column"] for each in answer.json()["problems"]]
        assert problems == ["nodes"], f"{nodes}: {answer.text}"
        answer = client.post(f"{PEERS}/csv", content=table, headers=me | CSV, params=UPDATE)
        assert (answer.status_code, "line 2, nodes" in answer.text) == (422, True), f"{nodes}: {answer.text}"
    assert usable(client) == before
    same = client.get(f"{PEERS}/csv", headers=me).content
    answer = client.post(f"{PEERS}/csv", content=same, headers=me | CSV, params=UPDATE)
    assert (answer.json()["same"], answer.json()["problems"]) == (4, []), answer.text
    lines = "name,nodes\nfar,fra1\nboth,eu\nall,\n"
    answer = client.post(f"{PEERS}/csv", content=lines, headers=me | CSV, params=UPDATE)
    assert (answer.status_code, answer.json()["problems"]) == (201, []), answer.text
    assert usable(client) == before | {"far": ["fra1", "nyc1"], "both": KEPT}


def test_a_change_of_many_neither_names_nor_lifts_what_is_outside(
    panel: Panel, client: httpx.Client, me: dict[str, str]
) -> None:
    path, before = f"{PEERS}/changes", usable(client)
    for nodes in (None, ["nyc1"], ["eu", "nyc1"]):
        body = {"action": "set_nodes", "nodes": nodes}
        for answer in (
            client.post(f"{path}/preview", json=body, headers=me),
            client.post(path, json=body | {"expect": f"4-{'0' * 32}"}, headers=me),
        ):
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "nodes"), answer.text
    body = {"action": "set_nodes", "nodes": ["eu"]}
    preview = client.post(f"{path}/preview", json=body, headers=me).json()
    assert "nodes outside of your node groups stay as they are" in str(preview["effects"])
    begun = client.post(path, json=body | {"expect": preview["who"]}, headers=me)
    assert begun.status_code == 202, begun.text
    for _ in range(20):
        with panel.store.write() as tx:
            if not peer_changes.step(tx, begun.json()["id"]):
                break
    assert usable(client) == before | {"all": ["eu"], "far": KEPT, "near": ["eu"], "both": KEPT}


def test_a_place_that_is_gone_stays(panel: Panel, client: httpx.Client, me: dict[str, str]) -> None:
    with panel.store.write() as tx:
        config = configs.get(tx, "wg1")
        (row,) = (each for each in peer_rows.of_config(tx, config.id) if each.name == "near")
        peer_nodes.put(tx, config, [row], frozenset({"f" * 32}))
    answer = client.patch(peer(client, "near"), json={"nodes": ["fra1"]}, headers=me)
    assert (answer.status_code, answer.json()["nodes"]) == (200, ["f" * 32, "fra1"]), answer.text
