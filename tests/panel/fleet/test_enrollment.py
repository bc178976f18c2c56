"""Enrollment over the API, by the agent's own request."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from wgfleet.agent.enrollment.certificates import check_certificate, make_request
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
