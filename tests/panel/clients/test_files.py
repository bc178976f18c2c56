"""What a user downloads, what an administrator gets back, and how an agent joins: over the API, with its secrets."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from wgfleet.agent.enrollment.certificates import check_certificate, make_request
from wgfleet.panel.api import Panel
from wgfleet.panel.keypairs import new_key_pair
from wgfleet.panel.services import backups, configs
from wgfleet.panel.services.fleet import assignments, nodes
from wgfleet.protocol.ids import NodeId


def serve(panel: Panel, client: httpx.Client, config: str, *names: str) -> None:
    """Assign new nodes, and have each confirm, as its agent would."""
    for number, name in enumerate(names, start=1):
        made(client, "/api/nodes", name=name, endpoint_addresses=[f"192.0.2.{number}"])
        made(client, f"/api/configs/{config}/nodes", node_id=name)
        with panel.store.write() as tx:
            config_row, node = configs.get(tx, config), nodes.get(tx, name)
            assignments.confirmed(tx, config_row.id, node.id, config_row.generation, (), "in sync", held=())


@pytest.mark.usefixtures("wg0")
def test_a_cluster_has_one_file_with_the_domain_and_without_one_the_home_nodes_address(
    panel: Panel, client: httpx.Client
) -> None:
    serve(panel, client, "wg0", "fra1")
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    text = client.get(f"/api/peers/{peer['id']}/config").text
    assert "Endpoint = 192.0.2.1:51820\n" in text
    assert "Address = 10.8.0.2/32, fd00:8::2/128\n" in text
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com", port=443)
    (only,) = client.get(f"/api/peers/{peer['id']}/configs").json()["items"]
    assert "Endpoint = vpn.example.com:443\n" in only["text"]
    assert only["node_id"] is None
    refused = client.get(f"/api/peers/{peer['id']}/config", params={"node": "fra1"})
    assert refused.status_code == 404
    assert "its one file is for all nodes" in refused.json()["detail"]
    own = made(client, "/api/configs/wg0/peers", name="bert", public_key=new_key_pair()[1])
    assert "REPLACE_THIS" in client.get(f"/api/peers/{own['id']}/config").text


def test_an_independent_config_has_a_file_for_each_node(panel: Panel, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg1", mode="independent", pools=["10.9.0.0/24"])
    serve(panel, client, "wg1", "fra1", "ams1")
    peer = made(client, "/api/configs/wg1/peers", name="anna")
    files = client.get(f"/api/peers/{peer['id']}/configs").json()["items"]
    assert {file["node_name"] for file in files} == {"fra1", "ams1"}
    lines = [
        {line.partition(" = ")[0]: line.partition(" = ")[2] for line in file["text"].splitlines()} for file in files
    ]
    for name in ("Address", "PublicKey", "Endpoint"):
        assert lines[0][name] != lines[1][name]
    assert lines[0]["PrivateKey"] == lines[1]["PrivateKey"]
    refused = client.get(f"/api/peers/{peer['id']}/config", params={"node": "lon1"})
    assert refused.status_code == 404
    assert "there are files for ams1, fra1" in refused.json()["detail"]


@pytest.mark.usefixtures("wg0")
def test_a_backup_is_listed_and_downloaded_as_a_file_and_the_download_is_audited(
    panel: Panel, client: httpx.Client
) -> None:
    serve(panel, client, "wg0", "fra1")
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    with panel.store.write() as tx:
        config, node = configs.get(tx, "wg0"), nodes.get(tx, "fra1")
        assignment = assignments.get(tx, config, node)
        backups.create(tx, panel.vault, "test", config, node, assignment, reason="a test")
    (listed,) = client.get("/api/backups", params={"config": "wg0"}).json()["items"]
    assert listed["peers"] == 1
    text = client.get(f"/api/backups/{listed['id']}/download").text
    assert f"# anna\n[Peer]\nPublicKey = {peer['public_key']}\n" in text
    assert text.count("[Peer]") == 1
    read: dict[str, Any] = client.get("/api/audit-logs", params={"entity_type": "backup", "action": "read"}).json()
    assert read["total"] == 1


def test_an_agent_joins_once_with_a_certificate_of_its_own(client: httpx.Client, fra1: dict[str, Any]) -> None:
    token = made(client, "/api/nodes/fra1/join-token")["token"]
    key, csr = make_request("whatever it says")
    enrolled = made(client, "/api/enroll", token=token, csr=csr, port=52000)
    assert enrolled["node_id"] == fra1["id"]
    check_certificate(key=key, certificate=enrolled["certificate"], node_id=NodeId(fra1["id"]))
    assert client.get("/api/nodes/fra1").json()["agent_port"] == 52000
    assert client.post("/api/enroll", json={"token": token, "csr": csr}).status_code == 401
