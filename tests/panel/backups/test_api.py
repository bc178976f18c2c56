"""Backups over the API, with their secrets."""

from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.services import backups, configs
from wgfleet.panel.services.fleet import assignments, nodes


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
