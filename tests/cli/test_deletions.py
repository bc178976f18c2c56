"""Every `delete` says in JSON what is gone, and what was deleted keeps its name in the list of operations."""

import json
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import made
from wgfleet.cli import node
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.store.tables import Assignment, Operation


def test_every_deletion_prints_json_for_programs(wgfleet: Run, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.10"])
    made(client, "/api/node-groups", name="eu")
    made(client, "/api/rule-sets", name="guests")
    made(client, "/api/tags", name="office")
    made(client, "/api/users", name="ben", role="viewer")
    made(client, "/api/keys", name="ci", scopes=["read"])
    ids = [made(client, "/api/configs/wg0/peers", name=name)["id"] for name in ("anna", "bert")]
    job = made(client, "/api/configs/wg0/jobs", field="total_data", operator="lgt", value=10, action="restrict")
    cases: list[tuple[tuple[str, ...], str, list[str | None]]] = [
        (("job", "delete", job["id"], "--config", "wg0"), "job", [None]),
        (("peer", "delete", "wg0/anna", "wg0/bert", "--yes"), "peer", ["anna", "bert"]),
        (("config", "endpoint-delete", "wg0", "--yes"), "endpoint_group", ["wg0"]),
        (("config", "delete", "wg0", "--yes"), "config", ["wg0"]),
        (("node", "delete", "fra1", "--yes"), "node", ["fra1"]),
        (("group", "delete", "eu", "--yes"), "node_group", ["eu"]),
        (("rule-set", "delete", "guests", "--yes"), "rule_set", ["guests"]),
        (("tag", "delete", "office", "--yes"), "tag", ["office"]),
        (("user", "delete", "ben", "--yes"), "user", ["ben"]),
        (("key", "delete", "ci", "--yes"), "key", ["ci"]),
    ]
    for command, kind, names in cases:
        ended = wgfleet(*command, "--json")
        assert ended.returncode == 0, (command, ended.stderr)
        found = json.loads(ended.stdout)
        assert [each["name"] for each in found["deleted"]] == names, command
        assert {each["kind"] for each in found["deleted"]} == {kind}
        assert found["warnings"] == []
        if kind == "peer":
            assert [each["id"] for each in found["deleted"]] == ids


@pytest.mark.usefixtures("wg0", "fra1")
def test_an_operation_of_what_is_gone_has_the_name_that_it_had(
    wgfleet: Run, client: httpx.Client, panel: Panel
) -> None:
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    operation = client.delete("/api/configs/wg0/nodes/fra1").json()
    assert (operation["config_name"], operation["node_name"]) == ("wg0", "fra1")
    with panel.store.write() as tx:
        row = tx.session.get_one(Operation, operation["id"])
        row.state, row.finished_at, row.result = OperationState.SUCCEEDED, clock.now(), {}
        tx.session.query(Assignment).delete()
    for path in ("/api/configs/wg0", "/api/nodes/fra1?force=true"):
        assert client.delete(path).status_code == 204
    listed = wgfleet("operation", "list", COLUMNS="80")
    assert listed.returncode == 0, listed.stderr
    header, line = listed.stdout.splitlines()[:2]
    assert "AGE" in header
    assert "wg0" in line
    assert "fra1" in line
    assert operation["node_id"] not in listed.stdout
    shown = wgfleet("operation", "show", operation["id"]).stdout
    assert "fra1" in shown
    (row_shown,) = client.get("/api/operations").json()["items"]
    assert (row_shown["config_name"], row_shown["node_name"]) == ("wg0", "fra1")


@pytest.mark.usefixtures("wg0", "fra1")
def test_a_node_list_has_the_worst_health_of_its_configs(wgfleet: Run, client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"], listen_port=51821)
    assert client.get("/api/nodes/fra1").json()["health"] is None
    for config in ("wg0", "wg1"):
        made(client, f"/api/configs/{config}/nodes", node_id="fra1")
    assert client.get("/api/nodes/fra1").json()["health"] is None, "nobody judges it yet"
    bad = client.get("/api/configs/wg1").json()["id"]
    with panel.store.write() as tx:
        tx.session.query(Assignment).update({"phase": "serving"})
        tx.session.query(Assignment).filter_by(config_id=bad).update(
            {"health": Health.DOWN, "health_reason": "nobody gets an answer"}
        )
    shown = client.get("/api/nodes/fra1").json()
    assert (shown["health"], shown["health_config"]) == ("down", "wg1")
    assert shown["health_reason"] == "nobody gets an answer"
    listed = wgfleet("node", "list").stdout
    assert "HEALTH" in listed
    assert "down" in listed
    assert "wg1: nobody gets an answer; " in listed


def test_a_node_of_an_older_panel_is_listed_as_it_was() -> None:
    older: dict[str, Any] = {"summary": "in sync"}
    assert node._summary(older) == "in sync"  # noqa: SLF001 - what it does with what is not there
