"""Refusals of an import name the peer that is in the way."""

import httpx

from tests.imports.samples import Keys
from tests.panel.imports.test_imports import interface, peer


def test_a_peer_whose_networks_are_in_the_way_is_named(client: httpx.Client) -> None:
    keys = Keys()
    rows = [peer(keys, "fine", "10.9.0.2/24", "# fine"), peer(keys, "office", "10.9.0.0/25", "# office")]
    refused = client.post("/api/imports/preview", json=interface(keys, *rows))
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("peer 'office': 10.9.0.0/25 overlaps")
    assert refused.json()["errors"][0]["field"] == "peers[1].networks[0]"
