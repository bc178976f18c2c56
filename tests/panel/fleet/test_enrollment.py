"""Enrollment over the API, by the agent's own request."""

from typing import Any

import httpx

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
