"""Refusals of an import name the peer that is in the way, and what is left out of one is said."""

from typing import Any

import httpx
import pytest

from tests.imports.samples import Keys
from tests.panel.imports.test_imports import done, interface, peer


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"private_key": "AAAA"}, "private_key"),
        ({"preshared_key": "AAAA"}, "preshared_key"),
        ({"addresses": ["10.9.0.300"]}, "addresses[0]"),
        ({"networks": ["10.20.0.1/24"]}, "networks[0]"),
        ({"keepalive": 70_000}, "keepalive"),
        ({"mtu": 12}, "mtu"),
    ],
)
def test_a_peer_with_a_value_that_is_none_is_named(client: httpx.Client, broken: dict[str, Any], field: str) -> None:
    keys = Keys()
    body = interface(keys, peer(keys, "fine", "10.9.0.2", "# fine"), peer(keys, "anna", "10.9.0.3", "# anna"))
    body["interface"]["peers"][1].update(broken)
    refused = client.post("/api/imports/preview", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["field"] == f"peers[1].{field}"
    assert refused.json()["detail"].startswith("peer 'anna': "), refused.text
    del body["interface"]["peers"][1]["name"]
    assert "peer '" in client.post("/api/imports/preview", json=body).json()["detail"]


def test_a_default_route_behind_a_peer_is_left_out_and_said(client: httpx.Client) -> None:
    keys = Keys()
    content = interface(keys, peer(keys, "exit", "10.9.0.2/32, 0.0.0.0/0, ::/0, 192.168.7.0/24", "# exit"))
    (row,) = done(client, content, "/api/imports/preview")["peers"]
    assert row["fate"] == "new"
    assert [each.partition(" is left out")[0] for each in row["remarks"]] == ["0.0.0.0/0 behind it", "::/0 behind it"]
    done(client, content)
    (made,) = client.get("/api/configs/office/peers").json()["items"]
    assert made["networks"] == ["192.168.7.0/24"]


def test_a_peer_that_stands_twice_is_left_out_once_at_each_run(client: httpx.Client) -> None:
    keys = Keys()
    source = interface(keys, peer(keys, "a", "10.9.0.2/32"), peer(keys, "a", "10.9.0.3/32"))
    assert [row["fate"] for row in done(client, source)["peers"]] == ["new", "left_out"]
    assert [row["fate"] for row in done(client, source)["peers"]] == ["same", "left_out"]
