"""Backups over the API, with their secrets."""

from threading import Thread
from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain import rendering
from wgfleet.panel.services import backups, configs
from wgfleet.panel.services.fleet import assignments, nodes
from wgfleet.panel.store.tables import AuditEntry


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


@pytest.mark.usefixtures("wg0")
def test_a_backup_is_made_by_hand_of_what_is_assigned_only(panel: Panel, client: httpx.Client) -> None:
    serve(panel, client, "wg0", "fra1")
    backup = made(client, "/api/backups", config="wg0", node="fra1", reason="before a change")
    assert (backup["node_name"], backup["reason"], backup["operation_id"]) == ("fra1", "before a change", None)
    refused = client.post("/api/backups", json={"config": "wg0", "node": "none"})
    assert (refused.status_code, refused.json()["field"]) == (404, "node")
    made(client, "/api/nodes", name="ams1", endpoint_addresses=["192.0.2.77"])
    assert client.post("/api/backups", json={"config": "wg0", "node": "ams1"}).status_code == 404


@pytest.mark.usefixtures("wg0")
def test_others_write_while_a_backup_is_put_together(
    panel: Panel, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 30,000 peers that takes seconds."""
    serve(panel, client, "wg0", "fra1")
    put_together, waited = rendering.backup_file, []

    def write() -> None:
        with panel.store.write():
            pass

    def meanwhile(*given: Any) -> str:
        other = Thread(target=write)
        other.start()
        other.join(5)
        waited.append(other.is_alive())
        return put_together(*given)

    monkeypatch.setattr(rendering, "backup_file", meanwhile)
    made(client, "/api/backups", config="wg0", node="fra1")
    assert waited == [False]


def test_the_log_is_filtered_by_actor_and_time_and_comes_as_csv(panel: Panel, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    path = "/api/audit-logs"
    (entry,) = client.get(path, params={"action": "created", "entity_type": "config"}).json()["items"]
    by_actor = {"action": "created", "entity_type": "config", "actor": entry["actor"]}
    assert client.get(path, params=by_actor).json()["total"] == 1
    assert client.get(path, params={**by_actor, "actor": "key:nobody"}).json()["total"] == 0
    with panel.store.write() as tx:  # it is shown as a little later than it is: times are shown to 1 us
        tx.session.get_one(AuditEntry, entry["id"]).at = int(clock.now()) + 0.1234567
    at = client.get(path, params=by_actor).json()["items"][0]["at"]
    assert client.get(path, params={**by_actor, "since": at}).json()["total"] == 1
    assert client.get(path, params={**by_actor, "until": at}).json()["total"] == 0
    lines = client.get(path, params={**by_actor, "format": "csv", "limit": 1})
    assert lines.headers["content-type"].startswith("text/csv")
    assert lines.text.splitlines()[1].split(",")[2:6] == [entry["actor"], "127.0.0.1", "created", "config"]
