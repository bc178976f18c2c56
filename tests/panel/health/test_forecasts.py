"""A config whose nodes do not fail over by themselves says so, with a way out, and no longer than it is true."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services.fleet import assignments, node_agents, nodes, witnesses
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.protocol.features import ALL
from wgfleet.protocol.ids import NodeId

pytestmark = pytest.mark.usefixtures("wg0")


def joined(panel: Panel, client: httpx.Client, name: str, *, host: str, **where: Any) -> dict[str, Any]:
    """Make a node that serves wg0, and return what the assignment said."""
    with panel.store.write() as tx:
        node_id = nodes.create(tx, "test", NodeSpec(name, [host], **where)).id
    said = made(client, "/api/configs/wg0/nodes", node_id=node_id)
    with panel.store.write() as tx:
        assignments.confirmed(tx, said["config_id"], node_id, said["generation"], (), "in sync", held=())
    heard(panel, name)
    return said


def heard(panel: Panel, name: str, *, connected: bool = True) -> None:
    with panel.store.write() as tx:
        node_agents.reported(tx, nodes.get(tx, name).id, connected=connected, version="0.2.0", known=ALL)


def lacking(client: httpx.Client) -> dict[str, str]:
    """Return the reasons by node, from three places that have to agree."""
    places = (
        client.get("/api/configs/wg0/health").json()["nodes"],
        client.get("/api/configs/wg0/nodes").json()["items"],
        client.get("/api/configs/wg0/capacity").json()["nodes"],
    )
    found = [
        {node["node_name"]: node["no_failover"]["code"] for node in place if node["no_failover"]} for place in places
    ]
    assert found[0] == found[1] == found[2]
    return found[0]


@pytest.mark.parametrize(
    "where", [{"is_panel_node": True}, {"agent_host": "127.0.0.1"}, {"agent_host": "::1"}], ids=str
)
def test_the_panels_machine_and_one_node_need_a_witness_or_a_third(
    panel: Panel, client: httpx.Client, where: dict[str, Any]
) -> None:
    said = joined(panel, client, "home", host="192.0.2.1", **where)["no_failover"]
    assert said["code"] == "only_node"
    assert [hint["code"] for hint in said["hints"]] == ["assign_node"]
    said = joined(panel, client, "berlin", host="192.0.2.2")["no_failover"]
    assert said["code"] == "unconfirmed"
    assert "'berlin'" in said["reason"]
    assert "POST /api/nodes with witness=true" in said["detail"]
    assert lacking(client) == {"berlin": "unconfirmed"}

    made(client, "/api/nodes", name="helper", witness=True, agent_host="198.51.100.9")
    assert lacking(client) == {"berlin": "unconfirmed"}, "it has not come yet"
    heard(panel, "helper")
    assert lacking(client) == {}
    heard(panel, "helper", connected=False)
    detail = client.get("/api/configs/wg0/health").json()["nodes"][1]["no_failover"]
    assert "witness 'helper' does not answer" in detail["reason"]
    heard(panel, "helper")
    with panel.store.write() as tx:
        (each,) = witnesses.looking(tx)
        witnesses.note_unreached(tx, {(each.config.id, NodeId(each.node.id)): 2})
    detail = client.get("/api/configs/wg0/health").json()["nodes"][1]["no_failover"]
    assert "witness 'helper' reaches no node that others reach" in detail["reason"]
    assert "wait_for_node" not in [hint["code"] for hint in detail["hints"]]
    assert "let UDP out" in client.get("/api/nodes/helper").json()["witness_warning"]
    assert client.delete("/api/nodes/helper").status_code == 204

    joined(panel, client, "ams", host="192.0.2.3")
    assert lacking(client) == {}


def test_a_pause_and_a_floor_are_said_and_end(panel: Panel, client: httpx.Client) -> None:
    joined(panel, client, "fra", host="192.0.2.1")
    joined(panel, client, "ams", host="192.0.2.2")
    assert lacking(client) == {}
    client.post("/api/configs/wg0/automation", json={"paused": True})
    assert lacking(client) == {"fra": "paused", "ams": "paused"}
    client.post("/api/configs/wg0/automation", json={"paused": False})
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com", min_nodes=2)
    assert lacking(client) == {"fra": "min_nodes", "ams": "min_nodes"}


def test_beside_a_dead_node_the_last_one_has_nobody(panel: Panel, client: httpx.Client) -> None:
    joined(panel, client, "fra", host="192.0.2.1")
    joined(panel, client, "ams", host="192.0.2.2")
    with panel.store.write() as tx:
        config_id = client.get("/api/configs/wg0").json()["id"]
        row = assignment_rows.get(tx, config_id, nodes.get(tx, "fra").id)
        assert row is not None
        row.health = Health.DOWN
    found = {node["node_name"]: node["no_failover"] for node in client.get("/api/configs/wg0/health").json()["nodes"]}
    assert found["ams"]["code"] == "no_refuge"
    assert found["fra"] is None
