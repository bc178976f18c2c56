"""Peers of independent configs that may use some of its nodes only: homes, interfaces, files, and what is said."""

from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made, one_database
from tests.panel.world import World
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.peer_changes import PeerAction
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs, peer_changes
from wgfleet.panel.services.fleet import node_groups, nodes, peer_nodes, peers
from wgfleet.panel.services.peer_changes import PeerChangeSpec
from wgfleet.panel.store import peer_nodes as peer_node_rows
from wgfleet.panel.store.listed_peers import PeerFilter
from wgfleet.panel.store.tables import Config, Peer


@pytest.fixture
def wg1(panel: Panel, client: httpx.Client) -> str:
    """Return an independent config that three nodes serve, two of them in node group `eu`."""
    made(client, "/api/configs", name="wg1", mode="independent", pools=["10.9.0.0/24", "fd09::/64"])
    made(client, "/api/node-groups", name="eu")
    serve(panel, client, "wg1", "fra1", "ber1", "nyc1")
    for name in ("fra1", "ber1"):
        assert client.patch(f"/api/nodes/{name}", json={"group": "eu"}).status_code == 200
    return "wg1"


def files(client: httpx.Client, peer: dict[str, Any]) -> list[str]:
    """Return the names of the nodes that a peer has a file for, sorted."""
    answer = client.get(f"/api/peers/{peer['id']}/configs")
    assert answer.status_code == 200, answer.text
    return sorted(each["node_name"] for each in answer.json()["items"])


def change(client: httpx.Client, peer: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = client.patch(f"/api/peers/{peer['id']}", json=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_addresses_are_said_with_their_nodes(client: httpx.Client, wg1: str) -> None:
    peer = made(client, f"/api/configs/{wg1}/peers", name="anna")
    assert [each["node"] for each in peer["node_addresses"]] == ["fra1", "ber1", "nyc1"]
    assert all(len(each["addresses"]) == 2 for each in peer["node_addresses"])
    assert sorted(peer["addresses"]) == sorted(text for each in peer["node_addresses"] for text in each["addresses"])
    for file in client.get(f"/api/peers/{peer['id']}/configs").json()["items"]:
        (at,) = (each for each in peer["node_addresses"] if each["node_id"] == file["node_id"])
        assert all(f"{text}/" in file["text"] for text in at["addresses"])
    assert client.get(f"/api/peers/{peer['id']}").json()["node_addresses"] == peer["node_addresses"]
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    of_cluster = made(client, "/api/configs/wg0/peers", name="anna")
    assert of_cluster["node_addresses"] is None
    assert of_cluster["nodes"] is None


def test_a_peer_has_homes_addresses_and_files_of_the_nodes_that_it_may_use(client: httpx.Client, wg1: str) -> None:
    peer = made(client, f"/api/configs/{wg1}/peers", name="anna", nodes=["nyc1"])
    ids = {each["name"]: each["id"] for each in client.get("/api/nodes").json()["items"]}
    assert peer["nodes"] == ["nyc1"]
    assert peer["home_node_id"] == ids["nyc1"]
    assert [each["node"] for each in peer["node_addresses"]] == ["nyc1"]
    assert peer["addresses"] == peer["node_addresses"][0]["addresses"]
    assert files(client, peer) == ["nyc1"]
    refused = client.get(f"/api/peers/{peer['id']}/config", params={"node": "fra1"})
    assert refused.status_code == 404
    assert "there are files for nyc1" in refused.json()["detail"]

    changed = change(client, peer, nodes=["eu"])
    assert changed["nodes"] == ["eu"]
    assert changed["home_node_id"] in {ids["fra1"], ids["ber1"]}
    assert files(client, peer) == ["ber1", "fra1"]
    everywhere = change(client, peer, nodes=None)
    assert everywhere["nodes"] is None
    assert files(client, peer) == ["ber1", "fra1", "nyc1"]
    (again,) = (each for each in everywhere["node_addresses"] if each["node"] == "nyc1")
    assert again["addresses"] == peer["addresses"], "the file that it had before is the same"


def test_unknown_nodes_and_clusters_are_errors_that_name_the_field(client: httpx.Client, wg1: str) -> None:
    made(client, "/api/nodes", name="lon1", endpoint_addresses=["192.0.2.99"])
    for wanted, said in ((["nowhere"], "no node group 'nowhere'"), (["lon1"], "not assigned to node 'lon1'")):
        answer = client.post(f"/api/configs/{wg1}/peers", json={"name": "anna", "nodes": wanted})
        assert answer.status_code == 422, answer.text
        assert said in answer.text
        assert answer.json()["errors"][0]["field"] == "nodes"
    batch = {"peers": [{"name": "a"}, {"name": "b", "nodes": ["nowhere"]}]}
    answer = client.post(f"/api/configs/{wg1}/peers/batch", json=batch)
    assert answer.json()["errors"][0]["field"] == "peers[1].nodes", answer.text
    assert client.post(f"/api/configs/{wg1}/peers", json={"name": "anna", "nodes": []}).status_code == 422
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    answer = client.post("/api/configs/wg0/peers", json={"name": "anna", "nodes": ["fra1"]})
    assert answer.status_code == 422
    assert "is a cluster" in answer.json()["detail"]


def test_archives_have_files_of_nodes_that_each_peer_may_use(client: httpx.Client, wg1: str) -> None:
    made(client, f"/api/configs/{wg1}/peers", name="anna", nodes=["nyc1"])
    made(client, f"/api/configs/{wg1}/peers", name="bert")
    for node, number in ((None, 2), ("fra1", 1), ("nyc1", 2)):
        answer = client.get(f"/api/configs/{wg1}/files", params={} if node is None else {"node": node})
        assert answer.status_code == 200, answer.text
        assert answer.content.count(b"PK\x01\x02") == number, node


def test_an_archive_without_any_file_is_one(client: httpx.Client, wg1: str) -> None:
    made(client, f"/api/configs/{wg1}/peers", name="anna", nodes=["nyc1"])
    assert client.get(f"/api/configs/{wg1}/files", params={"node": "fra1"}).status_code == 200


def test_who_may_use_no_other_node_is_named_before_a_removal(client: httpx.Client, wg1: str) -> None:
    made(client, f"/api/configs/{wg1}/peers", name="anna", nodes=["nyc1"])
    made(client, f"/api/configs/{wg1}/peers", name="bert", nodes=["nyc1", "eu"])
    foreseen = client.get(f"/api/configs/{wg1}/nodes/nyc1/departure").json()
    assert foreseen["cut_off"] == ["anna"]
    assert "1 peer may use no other node of config 'wg1', and would be cut off: anna" in foreseen["refusal"]
    refused = client.delete(f"/api/configs/{wg1}/nodes/nyc1")
    assert refused.status_code == 409, refused.text
    assert "anna" in refused.json()["detail"]
    warnings = client.get(f"/api/configs/{wg1}/capacity").json()["warnings"]
    assert "if node 'nyc1' fails, 1 peer may use no other of config 'wg1': anna" in warnings
    assert client.get(f"/api/configs/{wg1}/nodes/fra1/departure").json()["cut_off"] == []


def test_a_node_group_that_peers_may_use_stays(client: httpx.Client, wg1: str) -> None:
    made(client, "/api/node-groups", name="us")
    made(client, f"/api/configs/{wg1}/peers", name="anna", nodes=["us"])
    refused = client.delete("/api/node-groups/us")
    assert refused.status_code == 409
    assert "may use node group 'us'" in refused.json()["detail"]


def limited(world: World, config: Config, name: str, *places: str) -> Peer:
    """Return a new peer that may use some nodes and node groups only."""
    (peer,) = world.peers(config, name)
    limit(world, config, peer, *places)
    return peer


def limit(world: World, config: Config, peer: Peer, *places: str) -> None:
    with world.store.write() as tx:
        row = peers.get(tx, peer.id)
        wanted = peer_nodes.parsed(tx, configs.get(tx, config.id), places) if places else None
        peer_nodes.put(tx, configs.get(tx, config.id), [row], wanted)


@one_database
def test_interfaces_have_the_peers_that_may_use_their_node(world: World) -> None:
    config = world.config(mode="independent", pools=("10.9.0.0/24",))
    one, two = world.serving(config, "one", "two")
    (free,) = world.peers(config, "free")
    peer = limited(world, config, "a", "two")
    world.sync_all(config, one, two)
    assert world.users(config, one) == {free.public_key}
    assert world.users(config, two) == {free.public_key, peer.public_key}
    limit(world, config, peer, "one")
    world.sync_all(config, one, two)
    assert world.users(config, one) == {free.public_key, peer.public_key}
    assert world.users(config, two) == {free.public_key}
    assert world.agents[two.id, config.id] == world.whole(config, two)
    limit(world, config, peer)
    world.sync_all(config, one, two)
    assert peer.public_key in world.users(config, two)


@one_database
def test_routes_behind_a_peer_are_on_its_nodes_only(world: World) -> None:
    config = world.config(mode="independent", pools=("10.9.0.0/24",))
    one, two = world.serving(config, "one", "two")
    peer = limited(world, config, "a", "two")
    with world.store.write() as tx:
        peers.update(tx, world.vault, "test", peers.get(tx, peer.id), {"networks": ["192.168.7.0/24"]})
    world.sync_all(config, one, two)
    assert "192.168.7.0/24" not in world.agents[one.id, config.id].settings.routes
    assert "192.168.7.0/24" in world.agents[two.id, config.id].settings.routes


@one_database
def test_nodes_that_join_or_leave_a_group_get_and_lose_its_peers(world: World) -> None:
    config = world.config(mode="independent", pools=("10.9.0.0/24",))
    one, two = world.serving(config, "one", "two")
    with world.store.write() as tx:
        node_groups.create(tx, "test", "eu")
        nodes.update(tx, "test", nodes.get(tx, "one"), {"group": "eu"})
    peer = limited(world, config, "a", "eu")
    world.sync_all(config, one, two)
    assert (world.users(config, one), world.users(config, two)) == ({peer.public_key}, set())
    with world.store.write() as tx:
        nodes.update(tx, "test", nodes.get(tx, "two"), {"group": "eu"})
        nodes.update(tx, "test", nodes.get(tx, "one"), {"group": None})
    world.sync_all(config, one, two)
    assert (world.users(config, one), world.users(config, two)) == (set(), {peer.public_key})
    with world.store.read() as tx:
        assert peers.shown(tx, peer.id).home_node_id == two.id


@one_database
def test_a_removal_with_force_leaves_who_may_use_no_other_node_without_a_home(world: World) -> None:
    config = world.config(mode="independent", pools=("10.9.0.0/24",))
    one, two = world.serving(config, "one", "two")
    peer, other = limited(world, config, "a", "one"), limited(world, config, "b", "one", "two")
    world.sync_all(config, one, two)
    operation = world.remove(config, one, force=True)
    for _ in range(20):
        world.step(operation)
        world.sync_all(config, one, two)
    with world.store.read() as tx:
        assert peers.shown(tx, peer.id).home_node_id is None
        assert peers.shown(tx, other.id).home_node_id == two.id
        assert peer_nodes.names_of(tx, [peer.id]) == {peer.id: ["one"]}
    assert world.users(config, two) == {other.public_key}


@one_database
def test_many_peers_are_limited_at_once(world: World) -> None:
    config = world.config(mode="independent", pools=("10.9.0.0/24",))
    one, two = world.serving(config, "one", "two")
    made_peers = world.peers(config, "a", "b", "c")
    limit(world, config, made_peers[0], "two")
    wanted = PeerFilter(config_ids=[config.id])
    for nodes_wanted, users in ((("two",), set()), ((), {peer.public_key for peer in made_peers})):
        spec = PeerChangeSpec(PeerAction.SET_NODES, {}, nodes=nodes_wanted)
        with world.store.write() as tx:
            found = peer_changes.look(tx, wanted, spec)
            operation = peer_changes.start(tx, "test", configs.get(tx, config.id), wanted, spec, found.who)
        if nodes_wanted:
            assert any("2 peers may use two only" in each for each in found.effects)
            assert "1 peer of them may use just these already" in found.effects
        while step(world, operation.id):
            pass
        world.sync_all(config, one, two)
        assert world.users(config, one) == users
    with world.store.write() as tx, pytest.raises(Invalid) as refused:
        peer_changes.look(tx, wanted, PeerChangeSpec(PeerAction.SET_NODES, {}, nodes=("nowhere",)))
    assert refused.value.field == "nodes"
    with world.store.write() as tx, pytest.raises(Invalid):
        peer_changes.look(tx, wanted, PeerChangeSpec(PeerAction.ENABLE, {}, nodes=("one",)))


def step(world: World, operation_id: str) -> bool:
    with world.store.write() as tx:
        return peer_changes.step(tx, operation_id)


def test_nodes_of_a_peer_are_kept_though_one_left_or_is_gone(panel: Panel, client: httpx.Client, wg1: str) -> None:
    peer = made(client, f"/api/configs/{wg1}/peers", name="anna", nodes=["nyc1"])
    with panel.store.write() as tx:
        peer_node_rows.put(tx, {peer["id"]: {"f" * 32, client.get("/api/nodes/nyc1").json()["id"]}})
    made(client, "/api/nodes", name="lon1", endpoint_addresses=["192.0.2.99"])
    shown = client.get(f"/api/peers/{peer['id']}").json()["nodes"]
    assert shown == ["f" * 32, "nyc1"], "one that is gone is said by its id, and is not all nodes"
    assert change(client, peer, nodes=shown, notes="x")["nodes"] == shown
    refused = client.patch(f"/api/peers/{peer['id']}", json={"nodes": [*shown, "lon1"]})
    assert refused.status_code == 422
    other = made(client, f"/api/configs/{wg1}/peers", name="bert")
    assert client.patch(f"/api/peers/{other['id']}", json={"nodes": ["f" * 32]}).status_code == 422


def test_tables_have_the_nodes_that_peers_may_use(client: httpx.Client, wg1: str) -> None:
    made(client, f"/api/configs/{wg1}/peers", name="anna", nodes=["nyc1", "eu"])
    bert = made(client, f"/api/configs/{wg1}/peers", name="bert")
    path, update = f"/api/configs/{wg1}/peers/csv", {"existing": "update"}
    headers = {"content-type": "text/csv"}
    table = client.get(path).content
    same = client.post(path, content=table, headers=headers, params=update)
    assert (same.status_code, same.json()["same"]) == (201, 2), same.text
    lines = "name,nodes\nbert,fra1\ncarl,eu nyc1\ndora,\n"
    sent = client.post(path, content=lines, headers=headers, params=update)
    assert sent.status_code == 201, sent.text
    assert client.get(f"/api/peers/{bert['id']}").json()["nodes"] == ["fra1"]
    found = {each["name"]: each["nodes"] for each in client.get(f"/api/configs/{wg1}/peers").json()["items"]}
    assert found == {"anna": ["eu", "nyc1"], "bert": ["fra1"], "carl": ["eu", "nyc1"], "dora": None}
    wrong = client.post(
        f"{path}/preview", content="name,nodes\nbert,nowhere\nemil,nowhere\n", headers=headers, params=update
    )
    assert [(each["line"], each["column"]) for each in wrong.json()["problems"]] == [(2, "nodes"), (3, "nodes")]
