"""What is wrong is refused with the field, as RFC 9457, and leaves nothing behind."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made
from tests.panel.tables import snapshot
from wgfleet.panel.api import Panel

KEY_OF_31_BYTES = "A" * 40 + "AA=="
STRAY_BITS = "A" * 42 + "B="

# what is wrong -> method, path, body, status, field
CASES: dict[str, tuple[str, str, dict[str, Any], int, str | None]] = {
    "pool overlaps another config's": (
        "POST", "/api/configs", {"name": "wg1", "pools": ["10.8.0.128/25"]}, 409, "pools[0]"),
    "pools overlap each other": (
        "POST", "/api/configs", {"name": "wg1", "pools": ["10.9.0.0/24", "10.9.0.0/16"]}, 422, "pools[1]"),
    "pool has host bits": ("POST", "/api/configs", {"name": "wg1", "pools": ["10.9.0.1/24"]}, 422, "pools[0]"),
    "pool is too small": ("POST", "/api/configs", {"name": "wg1", "pools": ["10.9.0.0/31"]}, 422, "pools[0]"),
    "pool is too large": ("POST", "/api/configs", {"name": "wg1", "pools": ["10.0.0.0/7"]}, 422, "pools[0]"),
    "pool is multicast": ("POST", "/api/configs", {"name": "wg1", "pools": ["224.0.0.0/8"]}, 422, "pools[0]"),
    "pool is no network": ("POST", "/api/configs", {"name": "wg1", "pools": ["ten"]}, 422, "pools[0]"),
    "pool is IPv4 in IPv6 form": (
        "POST", "/api/configs", {"name": "wg1", "pools": ["::ffff:10.9.0.0/112"]}, 422, "pools[0]"),
    "pool is of NAT64": ("POST", "/api/configs", {"name": "wg1", "pools": ["64:ff9b::/96"]}, 422, "pools[0]"),
    "name of network cards": ("POST", "/api/configs", {"name": "eth0", "pools": ["10.9.0.0/24"]}, 422, "name"),
    "name of a VLAN": ("POST", "/api/configs", {"name": "eth0.100", "pools": ["10.9.0.0/24"]}, 422, "name"),
    "name of bridges": ("POST", "/api/configs", {"name": "br0", "pools": ["10.9.0.0/24"]}, 422, "name"),
    "name of lines": ("POST", "/api/configs", {"name": "ppp0", "pools": ["10.9.0.0/24"]}, 422, "name"),
    "no pool": ("POST", "/api/configs", {"name": "wg1", "pools": []}, 422, "pools"),
    "port above the range": (
        "POST", "/api/configs", {"name": "wg1", "pools": ["10.9.0.0/24"], "listen_port": 65536}, 422, "listen_port"),
    "port below the range": (
        "POST", "/api/configs", {"name": "wg1", "pools": ["10.9.0.0/24"], "listen_port": 0}, 422, "listen_port"),
    "port of another config": (
        "POST", "/api/configs", {"name": "wg1", "pools": ["10.9.0.0/24"], "listen_port": 51820}, 409, "listen_port"),
    "name of another config": ("POST", "/api/configs", {"name": "wg0", "pools": ["10.9.0.0/24"]}, 409, "name"),
    "name is no interface": ("POST", "/api/configs", {"name": "wg/0", "pools": ["10.9.0.0/24"]}, 422, "name"),
    "slash in the name of a tag": ("POST", "/api/tags", {"name": "a/b"}, 422, "name"),
    "slash in the name of a rule set": ("POST", "/api/rule-sets", {"name": "a/b"}, 422, "name"),
    "number of s as the moment of a job": (
        "POST", "/api/configs/wg0/jobs", {"field": "date", "value": "2592000"}, 422, "value"),
    "number of s as the moment of a key": (
        "POST", "/api/keys", {"name": "x", "scopes": ["read"], "expires_at": "1.5"}, 422, "expires_at"),
    "number of s as the beginning of usage": ("GET", "/api/usage?from=1", {}, 422, "from"),
    "number of s as the end of the audit log": ("GET", "/api/audit-logs?until=-1", {}, 422, "until"),
    "unknown mode": ("POST", "/api/configs", {"name": "w", "mode": "mesh", "pools": ["10.9.0.0/24"]}, 422, "mode"),
    "unknown field": ("POST", "/api/configs", {"name": "wg1", "pools": ["10.9.0.0/24"], "prot": 1}, 422, "prot"),
    "missing field": ("POST", "/api/configs", {"name": "wg1"}, 422, "pools"),
    "MTU below IPv6's least": ("PATCH", "/api/configs/wg0", {"mtu": 1279}, 422, "mtu"),
    "MTU below what any host takes": ("PATCH", "/api/configs/wg0", {"mtu": 575}, 422, "mtu"),
    "name server is no address": ("PATCH", "/api/configs/wg0", {"dns": ["10.0.0.256"]}, 422, "dns[0]"),
    "name in place of a flag": ("PATCH", "/api/configs/wg0", {"masquerade": "yes"}, 422, "masquerade"),
    "name of another node": (
        "POST", "/api/nodes", {"name": "fra1", "endpoint_addresses": ["192.0.2.9"]}, 409, "name"),
    "name that looks like an id": (
        "POST", "/api/nodes", {"name": "0" * 32, "endpoint_addresses": ["192.0.2.9"]}, 422, "name"),
    "node without address": ("POST", "/api/nodes", {"name": "x", "endpoint_addresses": []}, 422, "endpoint_addresses"),
    "address with a prefix": (
        "POST", "/api/nodes", {"name": "x", "endpoint_addresses": ["192.0.2.9/24"]}, 422, "endpoint_addresses[0]"),
    "address in IPv6 form": (
        "POST", "/api/nodes", {"name": "x", "endpoint_addresses": ["::ffff:192.0.2.9"]}, 422, "endpoint_addresses[0]"),
    "address of this machine": (
        "POST", "/api/nodes", {"name": "x", "endpoint_addresses": ["127.0.0.1"]}, 422, "endpoint_addresses[0]"),
    "address of a link": (
        "PATCH", "/api/nodes/fra1", {"endpoint_addresses": ["192.0.2.1", "fe80::1"]}, 422, "endpoint_addresses[1]"),
    "agent at an address of a link": ("PATCH", "/api/nodes/fra1", {"agent_host": "169.254.1.1"}, 422, "agent_host"),
    "weight of nothing": (
        "POST", "/api/nodes", {"name": "x", "endpoint_addresses": ["192.0.2.9"], "weight": 0}, 422, "weight"),
    "less than no capacity": ("PATCH", "/api/nodes/fra1", {"capacity": -1}, 422, "capacity"),
    "unknown group": ("PATCH", "/api/nodes/fra1", {"group": "mars"}, 422, "group"),
    "assignment twice": ("POST", "/api/configs/wg0/nodes", {"node_id": "fra1"}, 409, "node_id"),
    "unknown node": ("POST", "/api/configs/wg0/nodes", {"node_id": "fra9"}, 404, "node_id"),
    "unknown config": ("POST", "/api/configs/wg9/nodes", {"node_id": "fra1"}, 404, None),
    "proxied name": (
        "POST", "/api/configs/wg0/endpoint-group", {"domain": "vpn.example.com", "proxied": True}, 422, "proxied"),
    "TTL that no provider takes": (
        "POST", "/api/configs/wg0/endpoint-group", {"domain": "vpn.example.com", "ttl": 29}, 422, "ttl"),
    "domain that is none": ("POST", "/api/configs/wg0/endpoint-group", {"domain": "vpn example"}, 422, "domain"),
    "domain that is many": (
        "POST", "/api/configs/wg0/endpoint-group", {"domain": "*.example.com"}, 422, "domain"),
    "domain that is this machine": (
        "POST", "/api/configs/wg0/endpoint-group", {"domain": "127.0.0.1"}, 422, "domain"),
    "address that is published": (
        "POST", "/api/configs/wg0/endpoint-group",
        {"domain": "192.0.2.9", "dns": {"provider": "null", "zone": "z"}}, 422, "domain"),
    "floating address of a link": (
        "POST", "/api/configs/wg0/endpoint-group",
        {"domain": "vpn.example.com", "floating_addresses": ["fe80::1"]}, 422, "floating_addresses[0]"),
    "name of two lines": ("POST", "/api/configs/wg0/peers", {"name": "an\u2028na"}, 422, "name"),
    "name that nobody sees": ("POST", "/api/configs/wg0/peers", {"name": "\u200d\u200c"}, 422, "name"),
    "name that turns what comes after": ("POST", "/api/configs/wg0/peers", {"name": "\u202eevil\u202c"}, 422, "name"),
    "name of an isolate": (
        "POST", "/api/configs/wg0/peers/batch", {"peers": [{"name": "\u2066x"}]}, 422, "peers[0].name"),
    "tag that turns what comes after": ("POST", "/api/tags", {"name": "x\u202b"}, 422, "name"),
    "name of a filler": ("POST", "/api/configs/wg0/peers", {"name": "\u3164"}, 422, "name"),
    "name of a mark": ("POST", "/api/configs/wg0/peers", {"name": "\ufe0f"}, 422, "name"),
    "name that is there in another spelling": (
        "POST", "/api/configs/wg0/peers", {"name": "zoe\u0308"}, 409, "name"),
    "key of 31 bytes": (
        "POST", "/api/configs/wg0/peers", {"name": "x", "public_key": KEY_OF_31_BYTES}, 422, "public_key"),
    "key with stray bits": (
        "POST", "/api/configs/wg0/peers", {"name": "x", "public_key": STRAY_BITS}, 422, "public_key"),
    "name of another peer": ("POST", "/api/configs/wg0/peers", {"name": "anna"}, 409, "name"),
    "address outside the pool": (
        "POST", "/api/configs/wg0/peers", {"name": "x", "addresses": ["10.99.0.5"]}, 422, "addresses[0]"),
    "address of the node": (
        "POST", "/api/configs/wg0/peers", {"name": "x", "addresses": ["10.8.0.1"]}, 422, "addresses[0]"),
    "address of another peer": (
        "POST", "/api/configs/wg0/peers", {"name": "x", "addresses": ["10.8.0.2"]}, 409, "addresses[0]"),
    "one of many is wrong": (
        "POST", "/api/configs/wg0/peers/batch", {"peers": [{"name": "x"}, {"name": "anna"}]}, 409, "peers[1].name"),
    "more peers than addresses": ("POST", "/api/configs/wg0/peers/batch", {"count": 300}, 409, None),
    "neither peers nor count": ("POST", "/api/configs/wg0/peers/batch", {}, 422, "peers"),
    "more than a batch": ("POST", "/api/configs/wg0/peers/batch", {"count": 10_001}, 422, "count"),
    "unknown scope": ("POST", "/api/keys", {"name": "x", "scopes": ["root"]}, 422, "scopes[0]"),
    "key without scope": ("POST", "/api/keys", {"name": "x", "scopes": []}, 422, "scopes"),
    "key that has expired": (
        "POST", "/api/keys", {"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00Z"}, 422, "expires_at"),
    "node that is assigned": ("DELETE", "/api/nodes/fra1", {}, 409, None),
    "config that is assigned": ("DELETE", "/api/configs/wg0", {}, 409, None),
    "last admin key": ("DELETE", "/api/keys/admin", {}, 409, None),
}  # fmt: skip


@pytest.mark.usefixtures("wg0", "fra1")
def test_each_bad_input_is_refused_with_its_field_and_nothing_is_written(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    made(client, "/api/configs/wg0/peers", name="anna")
    made(client, "/api/configs/wg0/peers", name="zo\u00eb")
    before = snapshot(panel.store)
    for what, (method, path, body, status, field) in CASES.items():
        answer = client.request(method, path, json=body)
        assert answer.status_code == status, (what, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json", what
        problem = answer.json()
        assert (problem["status"], problem.get("field")) == (status, field), (what, problem)
        assert problem["detail"], what
        assert snapshot(panel.store) == before, what


@pytest.mark.usefixtures("wg0")
def test_a_refusal_never_repeats_what_may_be_a_secret(client: httpx.Client) -> None:
    private_key = "not-a-key-but-somebody-pasted-their-private-one"
    for body in ({"name": "x", "public_key": private_key}, {"name": "x", "private_key": private_key}, [private_key]):
        answer = client.post("/api/configs/wg0/peers", json=body)
        assert answer.status_code == 422
        assert private_key not in answer.text
    token = client.post("/api/enroll", json={"token": private_key, "csr": private_key})
    assert token.status_code == 401
    assert private_key not in token.text


def test_what_is_no_json_too_large_or_not_there_is_a_problem_too(client: httpx.Client) -> None:
    json_header = {"Content-Type": "application/json"}
    large = b'"' + b" " * (17 * 1024 * 1024) + b'"'
    answers = {
        400: client.post("/api/configs", content="{", headers=json_header),
        404: client.get("/api/no-such-thing"),
        405: client.put("/api/configs"),
        413: client.post("/api/configs", content=large, headers=json_header),
    }
    for status, answer in answers.items():
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == status
    assert client.put("/api/configs").headers["Allow"]


@pytest.mark.usefixtures("wg0", "fra1")
def test_a_refusal_speaks_of_the_value_and_not_of_the_program(client: httpx.Client) -> None:
    said = {
        "body: must be given": client.post("/api/configs"),
        "body: must be a JSON object": client.post("/api/configs", json=[]),
        "name: must be given (and 1 more)": client.post("/api/configs", json={}),
        "pools: needs 1 or more": client.post("/api/configs", json={"name": "w", "pools": []}),
    }
    assert {detail: answer.json()["detail"] for detail, answer in said.items()} == {detail: detail for detail in said}
    assert "cannot have" in client.get("/api/configs/wg%200").json()["detail"]


@pytest.mark.parametrize("content", [b'{"name": "\xff"}', b"[" * 20_000, b"1" * 10_000], ids=["bytes", "deep", "long"])
def test_a_body_that_cannot_be_read_says_what_may_be_wrong_with_it(client: httpx.Client, content: bytes) -> None:
    answer = client.post("/api/configs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    why = "the body is not JSON in UTF-8, or nested too deep, or has a number that is too long"
    assert answer.json()["detail"] == why


def test_a_key_that_expires_in_the_far_future_says_so(client: httpx.Client) -> None:
    expires_at = "9999-12-31T00:00:00Z"
    key = made(client, "/api/keys", name="ci", scopes=["read"], expires_at=expires_at)
    assert key["expires_at"] == expires_at
    assert expires_at in [listed["expires_at"] for listed in client.get("/api/keys").json()["items"]]


def test_a_body_without_length_is_cut_off_when_it_grows_too_large(client: httpx.Client) -> None:
    pieces = (b" " * 1024 * 1024 for _ in range(20))
    answer = client.post("/api/configs", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
