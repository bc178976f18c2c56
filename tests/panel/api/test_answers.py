"""What all answers share: the id of the request; pages of logs at a cost that is the page's own."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import structlog

from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.api.audit import MAX_OFFSET
from wgfleet.panel.services import audit
from wgfleet.panel.store.audit import COUNTED
from wgfleet.panel.store.tables import Assignment


def test_each_answer_names_its_request_and_a_problem_does_too(client: httpx.Client) -> None:
    answers = [client.get(path) for path in ("/healthz", "/api/nodes", "/api/nodes/none", "/nothing")]
    answers += [client.get("/api/nodes", headers={"Authorization": "Bearer wgf_wrong"})]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert [answer.json().get("request_id") for answer in answers] == [None, None, *ids[2:]]


def test_a_bug_has_an_id_in_its_problem_and_nothing_of_itself(
    client: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        seen.append(structlog.contextvars.get_contextvars()["request_id"])
        raise ZeroDivisionError("with a secret")

    seen: list[str] = []
    monkeypatch.setattr(audit, "page", fail)
    answer = client.get("/api/audit-logs")
    assert answer.status_code == 500
    assert answer.json()["request_id"] == seen[0]
    assert "secret" not in answer.text
    assert isinstance(panel, Panel)


def test_the_audit_log_is_read_page_by_page_from_the_newest(client: httpx.Client, panel: Panel) -> None:
    with panel.store.write() as tx:
        for number in range(25):
            audit.record(tx, "test", "counted", "thing", str(number))
    seen: list[str] = []
    after: int | None = None
    for _ in range(3):
        cursor = "" if after is None else f"&after={after}"
        page = client.get(f"/api/audit-logs?action=counted&limit=10{cursor}").json()
        assert page["total"] == 25
        seen += [entry["entity_id"] for entry in page["items"]]
        after = page["next"]
    assert seen == [str(number) for number in reversed(range(25))]
    assert after is None
    skipped = client.get("/api/audit-logs", params={"action": "counted", "offset": 20}).json()["items"]
    assert [entry["entity_id"] for entry in skipped] == ["4", "3", "2", "1", "0"]
    assert client.get("/api/audit-logs", params={"offset": MAX_OFFSET + 1}).status_code == 422


@pytest.mark.usefixtures("wg0")
def test_times_in_the_log_are_written_as_all_others(client: httpx.Client) -> None:
    for paused in (True, False):
        assert client.post("/api/configs/wg0/automation", json={"paused": paused}).status_code == 200
    made(client, "/api/keys", name="ci", scopes=["read"], expires_at="2050-01-01T00:00:00Z")
    created, resumed = client.get("/api/audit-logs", params={"limit": 2}).json()["items"]
    assert created["details"]["expires_at"] == "2050-01-01T00:00:00Z"
    assert datetime.fromisoformat(resumed["details"]["paused_since"]).tzinfo is UTC


@pytest.mark.usefixtures("wg0")
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/certificates?node=nope", "node"),
        ("/api/backups?node=nope", "node"),
        ("/api/backups?config=nope", "config"),
        ("/api/dns/nope/history", "config"),
    ],
)
def test_a_list_of_what_was_never_there_is_refused(client: httpx.Client, path: str, kind: str) -> None:
    refused = client.get(path)
    assert refused.status_code == 404
    assert refused.json()["detail"].startswith(f"there is no {kind} 'nope'; list them")
    assert client.get(path.replace("nope", "0" * 32)).json()["items"] == [], "a deleted one has its id only"


def test_a_long_log_is_not_counted_to_its_end(client: httpx.Client, panel: Panel) -> None:
    with panel.store.write() as tx:
        for number in range(COUNTED + 50):
            audit.record(tx, "test", "counted", "thing", str(number))
    assert client.get("/api/audit-logs", params={"action": "counted", "limit": 1}).json()["total"] == COUNTED


def test_drift_has_pages(client: httpx.Client, wg0: dict[str, Any], panel: Panel) -> None:
    for number in range(3):
        made(client, "/api/nodes", name=f"n{number}", endpoint_addresses=[f"192.0.2.{number + 1}"])
        made(client, f"/api/configs/{wg0['name']}/nodes", node_id=f"n{number}")
    with panel.store.write() as tx:
        tx.session.query(Assignment).update({"drift": ["mtu: 1, not 2"]})
    first = client.get("/api/drift", params={"limit": 2}).json()
    rest = client.get("/api/drift", params={"limit": 2, "after": first["next"]}).json()
    assert [item["node_name"] for item in (*first["items"], *rest["items"])] == ["n0", "n1", "n2"]
    assert rest["next"] is None
