"""The stand-in keeps the rules that are known of Cloudflare, and complains of what the API does not have."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.providers.cloudflare.environment import SECRET, ZONE, ZONE_ID
from tests.providers.cloudflare.misbehaviour import RateLimit
from tests.providers.cloudflare.server import StandIn, running
from tests.providers.cloudflare.zones import ANYCAST, Token, Zone

NAME = f"vpn.{ZONE}"
RECORD = {"type": "A", "name": NAME, "content": "192.0.2.1", "ttl": 60}


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    token = Token("t1", SECRET, {ZONE_ID: {"zone:read", "dns:edit"}})
    with running([Zone(ZONE_ID, ZONE)], [token], log=tmp_path / "calls.jsonl") as started:
        yield started


@pytest.fixture
def client(stand_in: StandIn) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {SECRET}"}
    with httpx.Client(
        base_url=f"{stand_in.url}/zones/{ZONE_ID}", headers=headers, trust_env=False, timeout=60
    ) as opened:
        yield opened


def batch(client: httpx.Client, **parts: Any) -> httpx.Response:
    return client.post("/dns_records/batch", json=parts)


def code(response: httpx.Response) -> tuple[int, int]:
    return response.status_code, response.json()["errors"][0]["code"]


def test_a_batch_deletes_before_it_adds(client: httpx.Client) -> None:
    made = batch(client, posts=[RECORD]).json()["result"]["posts"][0]
    done = batch(client, posts=[RECORD], deletes=[{"id": made["id"]}])
    assert done.status_code == 200
    assert done.json()["result"]["posts"][0]["id"] != made["id"]
    assert done.json()["result"]["patches"] is None


def test_a_batch_is_done_as_a_whole_or_not(stand_in: StandIn, client: httpx.Client) -> None:
    answer = batch(client, posts=[RECORD, {**RECORD, "content": "192.0.2.2"}, RECORD])
    assert code(answer) == (400, 81058)
    assert stand_in.api.zones[ZONE_ID].records == {}


def test_a_batch_takes_as_many_as_the_plan_has(client: httpx.Client) -> None:
    many = [{**RECORD, "content": f"192.0.2.{number}"} for number in range(201)]
    assert batch(client, posts=many).status_code == 400
    assert batch(client, posts=many[:200]).status_code == 200


def test_one_proxied_record_makes_the_whole_name_proxied(stand_in: StandIn, client: httpx.Client) -> None:
    zone = stand_in.api.zones[ZONE_ID]
    batch(client, posts=[RECORD])
    assert zone.answers(NAME, "A") == {("192.0.2.1", 60)}
    batch(client, posts=[{**RECORD, "content": "192.0.2.2", "proxied": True}])
    assert zone.answers(NAME, "A") == {(address, 300) for address in ANYCAST}


def test_a_relative_name_gets_the_zones_behind_it(client: httpx.Client) -> None:
    made = client.post("/dns_records", json={**RECORD, "name": "vpn.example.net"}).json()["result"]
    assert made["name"] == f"vpn.example.net.{ZONE}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"proxied": "false"},
        {"ttl": "60"},
        {"ttl": 29},
        {"ttl": 86401},
        {"content": "2001:db8::1"},
        {"content": "192.0.2.256"},
        {"comment": "two\nlines"},
        {"name": "münchen.example.com"},
        {"name": "x" * 256},
        {"type": "ADDRESS"},
        {"owner": "me"},
        {"ttl": None},
    ],
    ids=str,
)
def test_a_body_that_the_api_does_not_have_is_refused_and_complained_of(
    stand_in: StandIn, client: httpx.Client, wrong: dict[str, Any]
) -> None:
    assert batch(client, posts=[{**RECORD, **wrong}]).status_code == 400
    assert len(stand_in.api.complaints) == 1
    stand_in.api.complaints.clear()


def test_a_filter_that_the_api_does_not_have_is_complained_of(stand_in: StandIn, client: httpx.Client) -> None:
    assert client.get("/dns_records", params={"name.exactly": NAME}).status_code == 400
    assert len(stand_in.api.complaints) == 1
    stand_in.api.complaints.clear()


def test_filters_do_not_look_at_case_and_pages_are_counted(client: httpx.Client) -> None:
    batch(client, posts=[{**RECORD, "content": f"192.0.2.{number}", "comment": "Ours"} for number in range(5)])
    found = client.get("/dns_records", params={"name.exact": NAME.upper(), "comment.contains": "our", "per_page": 2})
    info = {"count": 2, "page": 1, "per_page": 2, "total_count": 5, "total_pages": 3}
    assert found.json()["result_info"] == info


def test_the_limit_is_1200_calls_in_five_minutes_and_then_a_block_of_five() -> None:
    now = [1000.0]
    limit = RateLimit(now=lambda: now[0])
    assert [limit.count("t1")[1] for _ in range(1200)] == [0.0] * 1200
    assert limit.count("t1") == (0, 300.0)
    assert limit.count("t2") == (1199, 0.0)
    now[0] += 299
    assert limit.count("t1") == (0, 1.0)
    now[0] += 1
    assert limit.count("t1")[1] == 0.0


def test_answers_carry_the_limits_headers(client: httpx.Client) -> None:
    headers = client.get("/dns_records/usage").headers
    assert headers["ratelimit"] == '"default";r=1199;t=300'
    assert headers["ratelimit-policy"] == '"default";q=1200;w=300'
    assert "retry-after" not in headers


def test_each_exchange_is_a_line_of_json_without_the_token(client: httpx.Client, tmp_path: Path) -> None:
    batch(client, posts=[RECORD])
    text = (tmp_path / "calls.jsonl").read_text()
    assert SECRET not in text
    (line,) = [json.loads(line) for line in text.splitlines()]
    assert (line["method"], line["status"], line["done"], line["request"]) == ("POST", 200, True, {"posts": [RECORD]})


def test_it_misbehaves_on_command_over_http(stand_in: StandIn, client: httpx.Client) -> None:
    control = stand_in.url.replace("/client/v4", "/_standin/faults")
    with httpx.Client(trust_env=False) as hand:
        assert hand.post(control, json=[{"kind": "error", "status": 503, "on": "any"}]).status_code == 200
        assert client.get("/dns_records").status_code == 503
        assert client.get("/dns_records").status_code == 200
        hand.post(control, json=[{"kind": "revoked", "on": "any"}])
        assert client.get("/dns_records").status_code == 403
        hand.delete(control)
        assert client.get("/dns_records").status_code == 200
