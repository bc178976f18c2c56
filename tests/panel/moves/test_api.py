"""Capacity and maintenance over the API, and with commands."""

from typing import Any

import httpx
import msgspec

from tests.panel.conftest import made, one_database
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.moves import MoveState
from wgfleet.panel.domain.operations import DrainOptions, MoveResult, OperationKind, OperationState
from wgfleet.panel.services import operations
from wgfleet.panel.services.fleet import assignments, loads
from wgfleet.panel.services.moves import steps
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import relays as relay_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.panel.store.tables import RelayedClient
from wgfleet.protocol.messages import Load
from wgfleet.protocol.observed import PeerStats


def serve(panel: Panel, config: dict[str, Any], node: dict[str, Any]) -> None:
    """Let a node serve as if its agent had confirmed everything."""
    with panel.store.write() as tx:
        assignment = assignment_rows.get(tx, config["id"], node["id"])
        assert assignment is not None
        assignments.serve(tx, assignment)


@one_database
def test_capacity_says_what_if_a_node_dies(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any], fra1: dict[str, Any]
) -> None:
    ams1 = made(client, "/api/nodes", name="ams1", endpoint_addresses=["192.0.2.2"], capacity=2)
    for node in (fra1, ams1):
        made(client, "/api/configs/wg0/nodes", node_id=node["name"])
        serve(panel, wg0, node)
    made(client, "/api/configs/wg0/peers/batch", count=4)
    found = client.get("/api/configs/wg0/capacity").json()
    assert [(node["node_name"], node["homes"], node["headroom"]) for node in found["nodes"]] == [
        ("fra1", 2, None),
        ("ams1", 2, 0),
    ]
    assert found["nodes"][0]["if_it_dies"] == {
        "holds": False,
        "gained": {"ams1": 2},
        "overloaded": {"ams1": 2},
        "overworked": {},
        "homeless": 0,
    }
    assert found["warnings"] == [
        "if node 'fra1' fails, node 'ams1' would exceed its capacity by 2 peers; raise it, or assign another node"
    ]


@one_database
def test_a_node_is_cordoned_drained_and_uncordoned(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any], fra1: dict[str, Any]
) -> None:
    ams1 = made(client, "/api/nodes", name="ams1", endpoint_addresses=["192.0.2.2"])
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    serve(panel, wg0, fra1)
    assert client.post("/api/nodes/fra1/cordon").json()["cordoned"] is True
    refused = client.post("/api/nodes/fra1/drain")
    assert refused.status_code == 409
    assert "min_nodes" in refused.json()["detail"]
    assert client.post("/api/nodes/fra1/uncordon").json()["cordoned"] is False
    made(client, "/api/configs/wg0/nodes", node_id="ams1")
    serve(panel, wg0, ams1)
    started = client.post("/api/nodes/fra1/drain", params={"drain_window_s": 5})
    assert started.status_code == 202
    (operation,) = started.json()["items"]
    assert (operation["kind"], operation["config_id"], operation["node_id"]) == ("drain", wg0["id"], fra1["id"])
    assert operation["options"] == {"force": False, "drain_window_s": 5.0, "relay_s": None}
    assert client.get("/api/nodes/fra1").json()["cordoned"] is True
    assert client.post("/api/nodes/nowhere/drain").status_code == 404


@one_database
def test_who_would_be_called_or_cut_off_is_said_beforehand(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any], fra1: dict[str, Any]
) -> None:
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    serve(panel, wg0, fra1)
    peers = made(client, "/api/configs/wg0/peers/batch", count=2)["items"]
    now = round(clock.steady())
    stats = {peer["public_key"]: PeerStats(endpoint="198.51.100.7:4000", latest_handshake=now) for peer in peers}
    path = "/api/configs/wg0/nodes/fra1"
    for state, reach in ((None, "unknown"), (MoveState.LEFT, "silent")):
        with panel.store.write() as tx:
            session_rows.record(tx, [NodeSessions(fra1["id"], wg0["id"], stats)], clock.steady())
            if state is not None:
                options = DrainOptions(force=False, drain_window_s=0)
                kind, about = OperationKind.DRAIN, f"{wg0['id']}/{fra1['id']}"
                begun = operations.start(
                    tx, "root", kind, about, config_id=wg0["id"], node_id=fra1["id"], options=options
                )
                row = steps.move(begun.id, peers[0]["id"], fra1["id"], None, "198.51.100.7:4000", rehomed=False)
                peer_rows.add_moves(tx, [{**row, "attempts": 3}])
                operations.finish(tx, begun.id, OperationState.FAILED, MoveResult())
        found = client.get(f"{path}/departure").json()
        assert (found["live"], found["unknown"]) == (2, ["user-1", "user-2"] if state is None else ["user-2"])
        assert found["cut_off"] == ([] if state is None else ["user-1"])
        assert [hint["code"] for hint in found["hints"]] == (
            [] if state is None else ["relay", "add_floating", "force"]
        )
        listed = client.get(f"{path}/clients", params={"reach": reach, "limit": 1}).json()
        assert [each["name"] for each in listed["items"]] == ["user-1"]
        assert (listed["next"] is None) is (reach == "silent")
    moved = {
        peer["public_key"]: msgspec.structs.replace(stats[peer["public_key"]], endpoint="192.0.2.9:1") for peer in peers
    }
    with panel.store.write() as tx:
        session_rows.record(tx, [NodeSessions(fra1["id"], wg0["id"], moved)], clock.steady())
    assert client.get(f"{path}/departure").json()["cut_off"] == [], "it is at another address now"


@one_database
def test_a_rebalance_is_an_operation_on_the_config(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any], fra1: dict[str, Any]
) -> None:
    assert client.post("/api/configs/wg0/rebalance").status_code == 409
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    serve(panel, wg0, fra1)
    started = client.post("/api/configs/wg0/rebalance")
    assert started.status_code == 202
    assert started.headers["Location"] == f"/api/operations/{started.json()['id']}"
    assert (started.json()["kind"], started.json()["node_id"]) == ("rebalance", None)
    assert client.post("/api/configs/wg0/rebalance").json()["id"] == started.json()["id"]


@one_database
def test_placement_and_what_it_goes_by_are_set_and_shown(
    client: httpx.Client, panel: Panel, fra1: dict[str, Any]
) -> None:
    assert made(client, "/api/configs", name="wg7", pools=["10.7.0.0/24"])["placement"] == "least_peers"
    changed = client.patch("/api/configs/wg7", json={"placement": "least_load"})
    assert changed.json()["placement"] == "least_load"
    refused = client.patch("/api/configs/wg7", json={"placement": "random"})
    assert (refused.status_code, refused.json()["field"]) == (422, "placement")
    assert (fra1["bandwidth_mbps"], fra1["load"]) == (None, None)
    assert client.patch("/api/nodes/fra1", json={"bandwidth_mbps": 1000}).json()["bandwidth_mbps"] == 1000
    with panel.store.write() as tx:
        loads.report(tx, {fra1["id"]: Load(cpu=0.25, memory=0.5, bandwidth=None, bandwidth_bps=1e8)})
    load = client.get("/api/nodes/fra1").json()["load"]
    assert (load["cpu"], load["memory"], load["bandwidth"]) == (0.25, 0.5, 0.1)


@one_database
def test_a_group_is_drained_and_uncordoned(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any], fra1: dict[str, Any]
) -> None:
    made(client, "/api/node-groups", name="rack")
    ams1 = made(client, "/api/nodes", name="ams1", endpoint_addresses=["192.0.2.2"])
    client.patch("/api/nodes/fra1", json={"group": "rack"})
    for node in (fra1, ams1):
        made(client, "/api/configs/wg0/nodes", node_id=node["id"])
        serve(panel, wg0, node)
    started = client.post("/api/node-groups/rack/drain", params={"drain_window_s": 5})
    assert started.status_code == 202
    operation = started.json()
    assert (operation["kind"], operation["options"]["drain_window_s"]) == ("drain_group", 5)
    assert client.get(started.headers["Location"]).json()["id"] == operation["id"]
    assert client.get("/api/nodes/fra1").json()["cordoned"] is True
    (freed,) = client.post("/api/node-groups/rack/uncordon").json()["items"]
    assert (freed["name"], freed["cordoned"]) == ("fra1", False)
    assert client.post("/api/node-groups/nowhere/drain").status_code == 404


def test_relays_are_listed_ended_and_prolonged(
    client: httpx.Client, panel: Panel, wg0: dict[str, Any], fra1: dict[str, Any]
) -> None:
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    names = made(client, "/api/configs/wg0/peers/batch", count=2)["items"]
    with panel.store.write() as tx:
        relay_rows.add(
            tx,
            [
                RelayedClient(
                    id=f"{i:032x}",
                    config_id=wg0["id"],
                    node_id=fra1["id"],
                    peer_id=peer["id"],
                    target="192.0.2.1:51820",
                    since=clock.now() - 60,
                    ends_at=clock.now() + 3600,
                    wanted_ends_at=None,
                )
                for i, peer in enumerate(names)
            ],
        )
    first, second = client.get("/api/relays?config=wg0&node=fra1").json()["items"]
    assert (first["peer_name"], first["node_name"], first["to_node_name"]) == (names[0]["name"], "fra1", "fra1")
    assert (first["live"], first["ending"], first["wanted_ends_at"], second["id"]) == (False, False, None, f"{1:032x}")
    shown = client.get("/api/relays?limit=1").json()
    assert [each["id"] for each in shown["items"]] == [f"{0:032x}"]
    assert [each["id"] for each in client.get(f"/api/relays?after={shown['next']}").json()["items"]] == [f"{1:032x}"]

    path = "/api/configs/wg0/nodes/fra1/relays"
    refused = client.post(f"{path}/prolong", json={"relay_s": 60})
    assert (refused.status_code, refused.json()["field"]) == (409, "relay_s")
    assert client.post(f"{path}/prolong", json={"relay_s": 7200}).json() == {"peers": [peer["name"] for peer in names]}
    assert client.get(f"{path}/deletion").json() == {"effects": []}
    missing = client.delete(path, params={"peer": "nobody"})
    assert (missing.status_code, missing.json()["field"]) == (404, "peer")
    assert "GET /api/relays?config=wg0&node=fra1" in missing.json()["detail"]
    assert client.delete(path, params={"peer": names[1]["name"]}).json() == {"peers": [names[1]["name"]]}
    assert [each["ending"] for each in client.get("/api/relays").json()["items"]] == [False, True]

    with panel.store.write() as tx:
        relay_rows.remove(tx, [f"{number:032x}" for number in range(2)])
    for ended in (client.delete(path), client.post(f"{path}/prolong", json={"relay_s": 7200})):
        assert (ended.status_code, ended.json()) == (200, {"peers": []}), "nothing is under way"
