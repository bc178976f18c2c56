"""Health, metrics, the OpenAPI document and events."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

import wgfleet
from tests.panel.conftest import made
from tests.waiting import eventually
from wgfleet.panel.api import Panel
from wgfleet.panel.api.monitoring import status_of
from wgfleet.panel.reconcile.engine.tasks import Failing
from wgfleet.panel.reconcile.lateness import Lateness
from wgfleet.panel.reconcile.outlook import CoreReport
from wgfleet.panel.services.fleet import node_agents
from wgfleet.panel.store.tables import NodeTraffic
from wgfleet.protocol.features import ALL, NONE, OF_WITNESSES, Feature


def test_health_needs_no_key_and_readiness_needs_the_database(anonymous: httpx.Client) -> None:
    assert anonymous.get("/healthz").json() == {"status": "ok"}
    assert anonymous.get("/readyz").json() == {"status": "ok"}
    assert anonymous.get("/api/ca.pem").text.startswith("-----BEGIN CERTIFICATE-----")


def test_readiness_names_the_background_tasks_that_fail_and_metrics_count_them(
    client: httpx.Client, panel: Panel
) -> None:
    async def run() -> None:
        async def work() -> None:
            await failing.wait()
            raise RuntimeError("a bug with a secret")

        failing = asyncio.Event()
        panel.outlook.tasks.start("resync", work)
        panel.outlook.tasks.start("link_watch", asyncio.Event().wait, subject="n1")
        assert (await asyncio.to_thread(client.get, "/readyz")).json() == {"status": "ok"}
        failing.set()
        await asyncio.to_thread(eventually, lambda: panel.outlook.tasks.deaths["resync"] >= 3)
        answer = await asyncio.to_thread(client.get, "/readyz")
        assert answer.status_code == 503
        shown = answer.json()
        [task] = shown.pop("failing")
        [reason] = shown.pop("reasons")
        assert re.fullmatch(r"background task resync failed \d+ times; see the log", reason)
        assert shown == {"status": "unavailable"}
        assert task.pop("failures") >= 3
        assert task.pop("running") in {True, False}
        assert task == {"task": "resync", "subject": ""}
        text = (await asyncio.to_thread(client.get, "/metrics")).text
        assert 'wgfleet_background_task_deaths_total{task="link_watch"} 0.0' in text
        assert float(text.split('deaths_total{task="resync"} ')[1].split()[0]) >= 3
        await panel.outlook.tasks.close()
        assert (await asyncio.to_thread(client.get, "/readyz")).json() == {"status": "ok"}

    asyncio.run(run())


def core(**values: Any) -> CoreReport:
    return CoreReport(panel="this panel", **values)


LATE = Lateness(decisions_p99_s=0.7)
BEHIND = Lateness(behind={"telemetry": 12.0})
WAY = "see what else keeps its machine busy, and give it a faster one or more processors"
NODE_S = Failing("link_watch", "n1", running=False, failures=9)
DEAD = Failing("health", "", running=False, failures=1)
HANGS = Failing("resync", "", running=True, failures=0, late_s=140.0)


@pytest.mark.parametrize(
    ("reports", "status", "reason"),
    [
        ([], "unavailable", "no process decides: the panel's core is not heard"),
        ([core(decides=False)], "unavailable", "no process decides: the panel's core is not heard"),
        ([core(unwritable="disk full")], "unavailable", "the database takes no changes: disk full"),
        ([core(failing=(DEAD,))], "unavailable", "background task health failed 1 times; see the log"),
        ([core(failing=(HANGS,))], "unavailable", "background task resync has not come round for 140 s; see the log"),
        ([core(failing=(NODE_S,))], "degraded", None),
        ([core(late=LATE)], "degraded", f"the panel cannot keep up: whether nodes serve is decided 0.7 s late; {WAY}"),
        ([core(late=BEHIND)], "degraded", f"the panel cannot keep up: what nodes report is written 12 s late; {WAY}"),
        ([core(late=Lateness(decisions_p99_s=0.4, behind={"telemetry": 9.0, "resync": 60.0}))], "ok", None),
        ([core()], "ok", None),
    ],
)
def test_readiness_follows_what_the_cores_report(reports: list[CoreReport], status: str, reason: str | None) -> None:
    found = status_of("this panel", reports)
    assert (found.status, found.reasons) == (status, [reason] if reason else None)


def test_a_standby_is_ready_and_says_that_it_is_one() -> None:
    decides, waits = CoreReport(panel="other:1"), CoreReport(panel="this panel", decides=False)
    found = status_of("this panel", [decides, waits])
    assert (found.status, found.standby) == ("ok", True)


def test_metrics_count_the_fleet_and_requests_by_route(
    client: httpx.Client, panel: Panel, fra1: dict[str, Any]
) -> None:
    config = made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/configs/wg0/peers/batch", count=3)
    with panel.store.write() as tx:
        node_agents.reported(tx, fra1["id"], connected=True)
        tx.session.add(NodeTraffic(config_id=config["id"], node_id=fra1["id"], received=4096, sent=7))
    client.get("/api/nodes/fra1")
    client.get("/no/such/path")
    text = client.get("/metrics").text
    assert "wgfleet_nodes 1.0" in text
    assert "wgfleet_nodes_connected 1.0" in text
    assert "wgfleet_peers 3.0" in text
    assert "wgfleet_operations_active 0.0" in text
    assert 'wgfleet_node_received_bytes_total{config="wg0",node="fra1"} 4096.0' in text
    assert 'wgfleet_node_sent_bytes_total{config="wg0",node="fra1"} 7.0' in text
    assert "wgfleet_health_frozen 0.0" in text
    assert 'wgfleet_health_late_seconds{quantile="0.99"} 0.0' in text
    assert 'wgfleet_background_task_behind_seconds{task="telemetry"} 0.0' in text
    assert "wgfleet_health_probes_left_out_total 0.0" in text
    assert 'wgfleet_http_requests_total{method="GET",route="/api/nodes/{node}",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"' in text


def test_what_a_reconciler_reports_is_shown(client: httpx.Client, panel: Panel, fra1: dict[str, Any]) -> None:
    with panel.store.write() as tx:
        node_agents.reported(tx, fra1["id"], connected=True, last_seen_at=1.0, version="0.1.0", summary="in sync")
        node_agents.reported(tx, fra1["id"], connected=False)
    shown = client.get("/api/nodes/fra1").json()
    assert (shown["connected"], shown["agent_version"], shown["summary"]) == (False, "0.1.0", "in sync")
    assert shown["last_seen_at"] == "1970-01-01T00:00:01Z"


def test_each_agents_release_is_shown_beside_the_panels(
    client: httpx.Client, panel: Panel, fra1: dict[str, Any]
) -> None:
    def shown() -> tuple[Any, ...]:
        node = client.get("/api/nodes/fra1").json()
        return tuple(node[f"agent_{name}"] for name in ("release", "protocol", "lacks"))

    def report(version: str, known: frozenset[Feature]) -> None:
        with panel.store.write() as tx:
            node_agents.reported(tx, fra1["id"], connected=True, version=version, known=known, summary="in sync")

    assert shown() == ("unknown", None, [])
    report("0.1.0", NONE)
    assert shown() == ("older", 1, sorted(ALL))
    assert 'wgfleet_agents{version="0.1.0"} 1.0' in client.get("/metrics").text
    assert "what users reach through it is not filtered" in client.get("/api/nodes").json()["items"][0]["agent_warning"]
    report("99.0.0", ALL)
    assert shown() == ("newer", 2, [])
    report(wgfleet.__version__, ALL)
    assert shown() == ("same", 2, [])
    assert client.get("/api/nodes/fra1").json()["agent_warning"] is None


def test_a_witness_of_the_panels_release_is_not_called_old(panel: Panel, client: httpx.Client) -> None:
    helper = made(client, "/api/nodes", name="helper", witness=True, agent_host="198.51.100.9")

    def shown(known: frozenset[Feature]) -> tuple[object, object]:
        with panel.store.write() as tx:
            node_agents.reported(
                tx, helper["id"], connected=True, version=wgfleet.__version__, known=known, summary="looks"
            )
        node = client.get("/api/nodes/helper").json()
        return node["agent_lacks"], node["agent_warning"]

    assert shown(OF_WITNESSES) == ([], None)
    lacks, warning = shown(OF_WITNESSES - {Feature.REVOKED})
    assert lacks == ["revoked"]
    assert "floating" not in str(warning)
    assert str(warning).endswith("certificates of the panel that were revoked are accepted until they expire")


def test_the_document_describes_every_call_and_its_problems(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            at = f"{method} {path}"
            assert operation["summary"], at
            assert {"422", "500", "503"} <= operation["responses"].keys(), at
    assert "HTTPValidationError" not in json.dumps(document)
    for reference in ("Problem409", "Problem422"):
        assert "application/problem+json" in document["components"]["responses"][reference]["content"]


@pytest.mark.parametrize(("kinds", "expected"), [((), ["node", "config"]), (("config",), ["config"])])
def test_events_arrive_as_server_sent_events(client: httpx.Client, kinds: tuple[str, ...], expected: list[str]) -> None:
    seen = []
    with client.stream("GET", "/api/events", params={"kind": list(kinds)}) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data:"):
                seen.append(json.loads(line.removeprefix("data:")))
            if len(seen) == len(expected):
                break
    assert [event["kind"] for event in seen] == expected


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_monitors_that_ask_for_the_head_alone_are_answered(client: httpx.Client, path: str) -> None:
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")


def test_a_slash_too_many_leads_nowhere_else(client: httpx.Client) -> None:
    assert client.get("/api/nodes/", headers={"host": "evil.example"}, follow_redirects=False).status_code == 404
