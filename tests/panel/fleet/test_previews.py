"""What dangerous calls would do is said before, by the same checks, and nothing of it stays."""

import re
from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from tests.panel.tables import snapshot
from wgfleet.panel.api import Panel
from wgfleet.panel.services import generations
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import sessions as session_rows

# path, body of a change or None for a deletion -> a part of what is said, "" for nothing
SAID: tuple[tuple[str, dict[str, Any] | None, str], ...] = (
    ("/api/configs/wg0", {"listen_port": 51999}, "nodes stop listening at port 51820 at once: 2 peers of 'wg0'"),
    ("/api/configs/wg0", {"listen_port": 51999}, "a NAT or a firewall in front of one lets no such call in"),
    ("/api/configs/wg0", {"enabled": False}, "2 peers of 'wg0' cannot connect to any node"),
    ("/api/configs/wg0", {"masquerade": False}, "routers know the way back"),
    ("/api/configs/wg0", {"client_to_client": False}, "no longer reach each other"),
    ("/api/configs/wg0", {"dns": ["9.9.9.9"], "mtu": 1400}, "keep their earlier dns, mtu"),
    ("/api/configs/wg0", {"keepalive": 30}, ""),
    ("/api/configs/wg0", {"listen_port": 51820}, ""),
    ("/api/configs/empty", {"listen_port": 51998}, ""),
    ("/api/configs/empty", None, ""),
    ("/api/configs/wg0/endpoint-group", {"domain": "vpn.example.org"}, "2 peers say vpn.example.com:51820"),
    ("/api/configs/wg0/endpoint-group", {"port": 443}, "the files of 2 peers say vpn.example.com:51820"),
    ("/api/configs/wg0/endpoint-group", {"floating_addresses": []}, "203.0.113.10 is taken from the node"),
    ("/api/configs/wg0/endpoint-group", {"auto_migrate": False}, "nobody is moved"),
    ("/api/configs/wg0/endpoint-group", {"domain": "VPN.example.com.", "ttl": 90}, ""),
    ("/api/configs/wg0/endpoint-group", None, "203.0.113.10 is taken from the node"),
    ("/api/nodes/fra1", {"endpoint_addresses": ["192.0.2.7"]}, "192.0.2.1 leaves the names of wg0; 2 peers at home"),
    ("/api/nodes/fra1", {"endpoint_addresses": ["192.0.2.1", "192.0.2.7"]}, "at 192.0.2.7, at the port that clients"),
    ("/api/nodes/fra1?force=true", {"endpoint_addresses": ["192.0.2.7"]}, "is probed at 192.0.2.7: if nobody answers"),
    ("/api/nodes/fra1", {"weight": 2.0}, ""),
    ("/api/configs/wg0/nodes/fra1", {"public_port": 443}, "no longer lists 'fra1': clients reach it at port 443"),
    ("/api/configs/wg0/nodes/fra1", {"public_port": 443}, "before 'fra1' answers the panel at port 443"),
    ("/api/configs/wg0/nodes/fra1?force=true", {"public_port": 443}, "is probed at port 443: if nobody answers"),
    ("/api/configs/wg0/nodes/fra1", {"public_port": None}, ""),
    ("/api/nodes/ams1", None, "only with a new join token"),
)  # fmt: skip


@pytest.mark.usefixtures("wg0")
def test_it_is_said_whom_a_change_concerns_and_nothing_is_changed(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs", name="empty", pools=["10.9.0.0/24"])
    serve(panel, client, "wg0", "fra1")
    made(client, "/api/nodes", name="ams1", endpoint_addresses=["192.0.2.2"])
    group = {"floating_addresses": ["203.0.113.10"], "address_provider": "l2"}
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com", **group)
    anna, _ = (made(client, "/api/configs/wg0/peers", name=name) for name in ("anna", "bert"))
    before = snapshot(panel.store)
    for url, body, said in (*SAID, (f"/api/peers/{anna['id']}", None, "'anna' is cut off")):
        path, _, query = url.partition("?")
        answer = client.get(f"{path}/deletion") if body is None else client.post(f"{path}/preview?{query}", json=body)
        assert answer.status_code == 200, (path, body, answer.text)
        effects = answer.json()["effects"]
        assert said in " ".join(effects) if said else effects == [], (path, body, effects)
        assert snapshot(panel.store) == before, (path, body)
    refused = {
        client.post("/api/configs/wg0/preview", json={"mtu": 1}).status_code: 422,
        client.get("/api/configs/wg0/deletion").status_code: 409,
        client.get("/api/configs/none/deletion").status_code: 404,
        client.get("/api/nodes/fra1/deletion?force=true").status_code: 409,
    }
    assert refused == {status: status for status in refused}


def test_a_preview_of_a_deletion_with_force_names_what_is_refused_without(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = made(client, "/api/nodes", name="ams1", endpoint_addresses=["192.0.2.2"])
    ways = ((node_rows, "owed_interfaces", ["wg7"], "wg7"), (session_rows, "seen_at", ["anna"], "anna"))
    for rows, what, found, said in ways:
        with monkeypatch.context() as patched:
            patched.setattr(rows, what, lambda *_, found=found: found)
            path = f"/api/nodes/{node['id']}"
            refused = client.get(f"{path}/deletion")
            assert (refused.status_code, said in refused.text) == (409, True)
            assert client.delete(path).json()["detail"] == refused.json()["detail"]
            _, effect = client.get(f"{path}/deletion?force=true").json()["effects"]
            assert said in effect


def test_a_preview_needs_the_scopes_of_the_change(client: httpx.Client) -> None:
    made(client, "/api/nodes", name="ams1", endpoint_addresses=["192.0.2.2"])
    key = made(client, "/api/keys", name="writer", scopes=["write"])["key"]
    body, headers = {"agent_host": "192.0.2.9"}, {"Authorization": f"Bearer {key}"}
    answers = (
        client.patch("/api/nodes/ams1", json=body, headers=headers),
        client.post("/api/nodes/ams1/preview", json=body, headers=headers),
    )
    assert [(each.status_code, "'nodes'" in each.text) for each in answers] == [(403, True)] * 2


def test_who_calls_an_agent_elsewhere_is_told_what_that_risks(client: httpx.Client, panel: Panel) -> None:
    node = made(client, "/api/nodes", name="ams1", endpoint_addresses=["192.0.2.2"])
    path, body = f"/api/nodes/{node['id']}/preview", {"agent_host": "192.0.2.99"}
    assert client.post(path, json=body).json()["effects"] == [], "nobody has joined: nothing is lost"
    with panel.store.write() as tx:
        nodes.get(tx, node["id"]).connected = True
    (said,) = client.post(path, json=body).json()["effects"]
    assert said.startswith("the panel calls the agent of 'ams1' at 192.0.2.99, port 51900, from now on")
    assert client.post(path, json={"capacity": 7, "agent_host": "192.0.2.2"}).json()["effects"] == []


def test_a_preview_of_a_deletion_does_not_wait_for_changes(client: httpx.Client, panel: Panel) -> None:
    """Nor do changes wait for it: where all must be looked at, that is for long."""
    made(client, "/api/configs", name="wg9", pools=["10.9.0.0/24"])
    node = made(client, "/api/nodes", name="ams1", endpoint_addresses=["192.0.2.2"])
    with panel.store.write() as tx:
        generations.bump(tx, client.get("/api/configs/wg9").json()["id"])
        for path in ("/api/configs/wg9/deletion", f"/api/nodes/{node['id']}/deletion"):
            assert client.get(path, timeout=10).status_code == 200


def test_one_peer_is_said_as_one(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    made(client, "/api/configs/wg1/peers", name="anna")
    said = client.get("/api/configs/wg1/deletion").json()["effects"]
    for change in ({"enabled": False}, {"masquerade": False}, {"client_to_client": False}, {"listen_port": 51999}):
        said += client.post("/api/configs/wg1/preview", json=change).json()["effects"]
    assert len(said) >= 5
    assert not [each for each in said if re.search(r"\b1 peer( of 'wg1')? (are|reach|no longer reach)\b", each)]
