"""Capacity and maintenance over the API, and with commands."""

from typing import Any

import httpx

from tests.api.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.services import assignments
from wgfleet.panel.store import assignments as assignment_rows


def serve(panel: Panel, config: dict[str, Any], node: dict[str, Any]) -> None:
    """Let a node serve as if its agent had confirmed everything."""
    with panel.store.write() as tx:
        assignment = assignment_rows.get(tx, config["id"], node["id"])
        assert assignment is not None
        assignments.serve(tx, assignment)


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
        "homeless": 0,
    }
    assert found["warnings"] == [
        "if node 'fra1' dies, node 'ams1' is 2 peers above its capacity; raise it, or assign another node"
    ]
