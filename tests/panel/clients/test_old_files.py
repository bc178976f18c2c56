"""Files that lead to nodes, and are out of date when that is another: of independent configs, and without a name."""

from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made, one_database
from tests.panel.world import World
from wgfleet.panel.api import Panel
from wgfleet.panel.services.fleet import nodes, peer_nodes, peers
from wgfleet.panel.store import new_files
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.ids import NodeId, PeerId

PEERS = "/api/configs/wg1/peers"
GROUP = "/api/configs/wg1/endpoint-group"


@pytest.fixture
def ids(panel: Panel, client: httpx.Client) -> dict[str, str]:
    """Make three peers that took their files: one may use all nodes, the others one alone or a group."""
    made(client, "/api/configs", name="wg1", mode="independent", pools=["10.9.0.0/24"])
    made(client, "/api/node-groups", name="eu")
    serve(panel, client, "wg1", "fra1", "ber1", "nyc1")
    for name in ("fra1", "ber1"):
        assert client.patch(f"/api/nodes/{name}", json={"group": "eu"}).status_code == 200
    limited = {"all": None, "alone": ["nyc1"], "europe": ["eu"]}
    found = {name: made(client, PEERS, name=name, nodes=nodes)["id"] for name, nodes in limited.items()}
    take(client, found)
    return found


def take(client: httpx.Client, ids: dict[str, str]) -> None:
    for peer_id in ids.values():
        assert client.get(f"/api/peers/{peer_id}/configs").status_code == 200


def old(client: httpx.Client, ids: dict[str, str]) -> list[str]:
    """Return who needs a new file, and take those."""
    found = client.get(PEERS, params={"needs_new_file": "true"}).json()["items"]
    take(client, {each["name"]: each["id"] for each in found})
    assert client.get(PEERS, params={"needs_new_file": "true"}).json()["items"] == []
    assert {each["name"] for each in found} <= ids.keys()
    return sorted(each["name"] for each in found)


def change(client: httpx.Client, path: str, **body: Any) -> None:
    answer = client.patch(path, json=body)
    assert answer.status_code == 200, answer.text


def test_who_may_no_longer_use_a_node_needs_a_new_file(client: httpx.Client, ids: dict[str, str]) -> None:
    change(client, f"/api/peers/{ids['all']}", nodes=["eu"])
    assert old(client, ids) == ["all"]
    change(client, f"/api/peers/{ids['all']}", nodes=["fra1", "ber1"])
    change(client, f"/api/peers/{ids['all']}", nodes=None)
    assert old(client, ids) == [], "all files that they have work"
    change(client, "/api/nodes/ber1", group=None)
    assert old(client, ids) == ["europe"]
    change(client, "/api/nodes/ber1", group="eu")
    assert old(client, ids) == []


def test_names_addresses_and_ports_count_for_who_may_use_the_node(client: httpx.Client, ids: dict[str, str]) -> None:
    change(client, f"/api/peers/{ids['alone']}", endpoint_port=443)
    take(client, ids)
    change(client, "/api/nodes/fra1?force=true", endpoint_addresses=["192.0.2.77"])
    assert old(client, ids) == ["all", "europe"]
    assert client.post(GROUP, json={"domain": "vpn.example.org"}).status_code == 201
    assert old(client, ids) == ["all", "alone", "europe"]
    change(client, "/api/nodes/fra1?force=true", endpoint_addresses=["192.0.2.78"])
    assert old(client, ids) == [], "files have the name"
    change(client, "/api/nodes/fra1", name="Fra1")
    assert old(client, ids) == [], "names in DNS are in lower case"
    change(client, "/api/nodes/nyc1", name="lon1")
    assert old(client, ids) == ["all", "alone"]
    change(client, "/api/configs/wg1/nodes/ber1?force=true", public_port=4444)
    assert old(client, ids) == ["all", "europe"]
    change(client, "/api/configs/wg1/nodes/lon1?force=true", public_port=4444)
    assert old(client, ids) == ["all"], "the other has a port of its own"


def test_a_node_without_a_name_in_dns_is_said_by_its_address(client: httpx.Client, ids: dict[str, str]) -> None:
    assert client.post(GROUP, json={"domain": "vpn.example.org"}).status_code == 201
    change(client, "/api/nodes/ber1", name="FRA1")
    old(client, ids)
    change(client, "/api/nodes/FRA1?force=true", endpoint_addresses=["192.0.2.79"])
    assert old(client, ids) == ["all", "europe"]
    change(client, "/api/nodes/fra1", name="ams1")  # so the other has the name now
    assert old(client, ids) == ["all", "europe"]


@one_database
@pytest.mark.parametrize("mode", ["independent", "cluster"])
def test_who_had_a_file_for_a_node_that_left_needs_a_new_one(world: World, mode: str) -> None:
    config = world.config(mode=mode, pools=("10.9.0.0/24",))
    one, two = world.serving(config, "one", "two")
    here, there, barred = world.peers(config, "here", "there", "barred")
    with world.store.write() as tx:
        homes = {here: one, there: two, barred: two}
        peer_rows.rehome(tx, {PeerId(peer.id): NodeId(node.id) for peer, node in homes.items()})
        if mode == "independent":
            peer_nodes.put(tx, config, [peers.get(tx, barred.id)], frozenset({two.id}))
        new_files.taken(tx, [here.id, there.id, barred.id], 1.0)
    world.sync_all(config, one, two)
    operation = world.remove(config, one, force=True)
    for _ in range(20):
        world.step(operation)
        world.sync_all(config, one, two)
    # In an independent config each has a file for every node that it may use.
    assert marked(world, config) == ({here.id, there.id} if mode == "independent" else {here.id})


@one_database
def test_limits_of_other_peers_do_not_count(world: World) -> None:
    config = world.config(mode="independent", pools=("10.9.0.0/24",))
    _one, two = world.serving(config, "one", "two")
    free, limited = world.peers(config, "free", "limited")
    with world.store.write() as tx:
        peer_nodes.put(tx, config, [peers.get(tx, limited.id)], frozenset({two.id}))
        new_files.taken(tx, [free.id, limited.id], 1.0)
    with world.store.write() as tx:
        nodes.update(tx, "test", nodes.get(tx, "one"), {"endpoint_addresses": ["192.0.2.99"]}, force=True)
    assert marked(world, config) == {free.id}


def marked(world: World, config: Config) -> set[str]:
    with world.store.read() as tx:
        return {peer.id for peer in peer_rows.of_config(tx, config.id) if peer.old_file is not None}
