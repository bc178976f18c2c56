"""Enrollment over the API, by the agent's own request."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made, one_database
from wgfleet.agent.enrollment.certificates import check_certificate, make_request
from wgfleet.panel import origin
from wgfleet.panel.api import Panel
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.protocol.ids import NodeId


def test_an_agent_joins_once_with_a_certificate_of_its_own(client: httpx.Client, fra1: dict[str, Any]) -> None:
    token = made(client, "/api/nodes/fra1/join-token")["token"]
    key, csr = make_request("whatever it says")
    enrolled = made(client, "/api/enroll", token=token, csr=csr, port=52000)
    assert enrolled["node_id"] == fra1["id"]
    check_certificate(key=key, certificate=enrolled["certificate"], node_id=NodeId(fra1["id"]))
    assert client.get("/api/nodes/fra1").json()["agent_port"] == 52000
    assert client.post("/api/enroll", json={"token": token, "csr": csr}).status_code == 401


@pytest.mark.parametrize(
    ("host", "here_alone"),
    [("127.0.0.1:8080", True), ("[::1]:8080", True), ("localhost", True), ("panel.example.org", False)],
)
def test_a_line_that_leads_to_whatever_machine_runs_it_is_said(
    client: httpx.Client, fra1: dict[str, Any], host: str, *, here_alone: bool
) -> None:
    made = client.post(f"/api/nodes/{fra1['id']}/join-token", headers={"host": host}).json()
    assert f"http://{host}" in made["command"]
    assert (made["warning"] is not None) is here_alone
    if here_alone:
        assert "--listen" in made["warning"]


@pytest.mark.parametrize(
    ("came_from", "host", "is_panel_node"),
    [("203.0.113.9", "203.0.113.9", False), ("2001:db8::9", "2001:db8::9", False), ("127.0.0.1", "127.0.0.1", True)],
)
@one_database
def test_the_panels_own_machine_that_joins_from_elsewhere_is_called_there(
    client: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch, came_from: str, host: str, is_panel_node: bool
) -> None:
    with panel.store.write() as tx:
        spec = NodeSpec("alpha", ["203.0.113.2"], agent_host="127.0.0.1", is_panel_node=True)
        nodes.create(tx, "panel", spec).agent_version = "0.1.0"
    token = made(client, "/api/nodes/alpha/join-token")["token"]
    monkeypatch.setattr(origin, "of", lambda _: came_from)
    made(client, "/api/enroll", token=token, csr=make_request("x")[1], port=51900)
    shown = client.get("/api/nodes/alpha").json()
    assert (shown["agent_host"], shown["is_panel_node"]) == (host, is_panel_node)
    assert (shown["agent_version"], shown["agent_warning"]) == (None, None), "nothing is known of this agent yet"
