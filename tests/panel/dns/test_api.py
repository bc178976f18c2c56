"""Published names over the API: what an endpoint group says of DNS, its refusals, and the metrics."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from wgfleet.panel.api import Panel

NULL = {"provider": "null", "zone": "example.com"}
RFC2136 = {
    "provider": "rfc2136",
    "zone": "example.com",
    "options": {"server": "127.0.0.1", "port": 9, "key_name": "wgfleet", "key_secret": "c2VjcmV0"},
}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return SQLite's alone: nothing here depends on the database."""
    return sqlite_url


@pytest.fixture
def wg0(client: httpx.Client) -> dict[str, Any]:
    """A config behind the API, where the other tests of this folder have one in a world of rows."""
    return made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24", "fd00:8::/64"])


def saved(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/api/configs/wg0/endpoint-group", json={"domain": "vpn.example.com", **body})


@pytest.mark.usefixtures("wg0")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"dns": {"provider": "nobody"}}, "dns.provider"),
        ({"dns": {**NULL, "options": {"colour": "blue"}}}, "dns.options.colour"),
        ({"dns": {**NULL, "mode": "sometimes"}}, "dns.mode"),
        ({"dns": {**NULL, "record_name": "not a name"}}, "dns.record_name"),
        ({"dns": {**RFC2136, "zone": "no..zone"}}, "dns.zone"),
        ({"dns": {"provider": "cloudflare", "zone": "a1", "options": {"token": "x"}}, "ttl": 30}, "ttl"),
        (
            {"dns": {"provider": "cloudflare", "zone": "a1", "options": {"api_url": "http://127.0.0.1:9"}}},
            "dns.options",
        ),
        ({"dns": NULL, "cloudflare_zone_id": "a1"}, "cloudflare_zone_id"),
        ({"cloudflare_record_name": "vpn.example.com"}, "cloudflare_zone_id"),
        ({"cloudflare_zone_id": "a1", "ttl": 5}, "ttl"),
        ({"cloudflare_zone_id": "no id"}, "cloudflare_zone_id"),
        ({"cloudflare_zone_id": "a1", "cloudflare_record_name": "no name"}, "cloudflare_record_name"),
    ],
)
def test_a_group_that_cannot_be_published_is_refused_by_field(
    client: httpx.Client, body: dict[str, Any], field: str
) -> None:
    refused = saved(client, **body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)
    assert client.get("/api/configs/wg0/endpoint-group").status_code == 404
    assert client.get("/api/dns").json()["items"] == []


@pytest.mark.usefixtures("wg0")
def test_what_is_shown_of_a_group_can_be_sent_back_and_holds_no_secret(client: httpx.Client) -> None:
    assert saved(client, dns=RFC2136).status_code == 201
    shown = client.get("/api/configs/wg0/endpoint-group").json()["dns"]
    assert shown["options"] == {**RFC2136["options"], "key_secret": "(set)"}  # type: ignore[dict-item]  # it is a dict
    assert (shown["record_name"], shown["mode"], shown["drift"]) == ("vpn.example.com", "sync", "repair")
    assert saved(client, dns=shown).status_code == 200
    moved = saved(client, dns={**shown, "options": {**shown["options"], "server": "192.0.2.53"}})
    assert (moved.status_code, moved.json()["field"]) == (422, "dns.options.key_secret")
    for path in ("/api/configs/wg0/endpoint-group", "/api/dns", "/api/dns/wg0", "/api/audit-logs"):
        assert "c2VjcmV0" not in client.get(path).text


@pytest.mark.usefixtures("wg0")
def test_a_name_waits_in_the_list_until_it_is_published_and_again_until_it_is_withdrawn(client: httpx.Client) -> None:
    assert client.get("/api/dns/wg0").status_code == 404
    saved(client, dns=RFC2136)
    [listed] = client.get("/api/dns?state=pending").json()["items"]
    shown = client.get("/api/dns/wg0").json()
    assert shown == {
        "config_id": listed["config_id"],
        "config": "wg0",
        "current": listed,
        "names": [listed],
        "withdrawals": [],
    }
    assert (listed["name"], listed["reason"]) == ("vpn.example.com", "the endpoint group was created")
    assert client.get("/api/dns?state=synced").json()["items"] == []
    saved(client, domain="other.example.com", dns=RFC2136)
    shown = client.get("/api/dns/wg0").json()
    assert (shown["current"]["name"], [name["name"] for name in shown["withdrawals"]]) == (
        "other.example.com",
        ["vpn.example.com"],
    )
    assert client.post("/api/dns/wg0/cancel").json()["withdrawals"] == []
    assert client.get("/api/dns/wg0").json()["current"]["state"] == "cancelled"
    assert client.post("/api/dns/wg0/retry").json()["current"]["state"] == "pending"
    assert [entry["action"] for entry in client.get("/api/dns/wg0/history").json()["items"]] == [
        "dns_retried",
        "dns_cancelled",
        "dns_cancelled",
    ]


@pytest.mark.usefixtures("wg0")
def test_plans_are_shown_and_only_the_one_that_waits_is_approved(client: httpx.Client) -> None:
    saved(client, dns=NULL)
    plan = client.get("/api/dns/wg0/plan").json()
    assert (plan["name"], plan["changes"], plan["stopped"]) == ("vpn.example.com", [], False)
    assert "no node serves" in plan["note"]
    refused = client.post("/api/dns/wg0/approve", json={"plan_id": plan["id"]})
    assert (refused.status_code, refused.json()["field"]) == (409, "plan_id")
    assert client.post("/api/dns/wg0/adopt", json={"plan_id": "another"}).status_code == 409
    assert client.post("/api/dns/wg0/check").json()["ok"] is True


@pytest.mark.usefixtures("wg0")
def test_a_provider_that_does_not_answer_is_unavailable_and_no_reason_to_refuse_a_group(client: httpx.Client) -> None:
    assert saved(client, dns=RFC2136).status_code == 201
    assert client.get("/api/dns/wg0/plan").status_code == 503


@pytest.mark.usefixtures("wg0")
def test_whoever_may_only_read_changes_nothing(client: httpx.Client) -> None:
    saved(client, dns=NULL)
    key = made(client, "/api/keys", name="looker", scopes=["read"])["key"]
    header = {"Authorization": f"Bearer {key}"}
    for call in ("retry", "cancel", "check"):
        assert client.post(f"/api/dns/wg0/{call}", headers=header).status_code == 403
    assert client.get("/api/dns/wg0", headers=header).status_code == 200


@pytest.mark.usefixtures("wg0", "fra1")
def test_metrics_tell_of_names_and_calls(client: httpx.Client) -> None:
    client.post("/api/configs/wg0/nodes", json={"node_id": "fra1"})
    saved(client, dns=NULL)
    client.get("/api/dns/wg0/plan")
    lines = client.get("/metrics").text.splitlines()
    assert 'wgfleet_dns_names{state="pending"} 1.0' in lines
    assert "wgfleet_dns_waiting 1.0" in lines
    assert 'wgfleet_dns_calls_total{call="read",provider="null"} 1.0' in lines
    assert 'wgfleet_assignments{health="serving"} 1.0' in lines
    assert any(line.startswith("wgfleet_dns_oldest_seconds ") for line in lines)


@pytest.mark.usefixtures("wg0")
def test_a_name_server_that_hangs_does_not_hang_the_panel(client: httpx.Client, panel: Panel) -> None:
    panel.publisher.questions.within_s = 4.0
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        options = {"server": "127.0.0.1", "port": server.getsockname()[1]}
        dns = {"provider": "rfc2136", "zone": "example.com", "mode": "dry_run", "options": options}
        made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com", dns=dns)
        with ThreadPoolExecutor(45) as threads:
            plans = [threads.submit(client.get, "/api/dns/wg0/plan") for _ in range(45)]
            time.sleep(0.3)
            started = time.monotonic()
            assert client.get("/readyz").status_code == 200
            seconds = time.monotonic() - started
            answers = [plan.result() for plan in plans]
    assert seconds < 4, "a place in the queue behind 45 calls that wait"
    assert {answer.status_code for answer in answers} == {503}
    assert all("Retry-After" in answer.headers for answer in answers)


@pytest.mark.usefixtures("wg0")
def test_whoever_may_only_read_costs_no_provider_a_call(client: httpx.Client) -> None:
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com", dns={"provider": "null", "zone": "x.com"})
    key = made(client, "/api/keys", name="looker", scopes=["read"])["key"]
    assert client.get("/api/dns/wg0/plan", headers={"Authorization": f"Bearer {key}"}).status_code == 403
