"""Bodies: who sends one must have a key first, and then send it in time, in size and in parts."""

import asyncio
import contextlib
import gzip
import json
import socket
import tracemalloc
from collections.abc import Iterator

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message

from tests.panel.conftest import made
from wgfleet.panel import api
from wgfleet.panel.api import Panel, create_app, doorkeeper, request_bodies
from wgfleet.panel.api.auth import OPEN_PATHS
from wgfleet.panel.api.imports import PeerToImport
from wgfleet.panel.api.large_bodies import MAX_FIELDS, CarefulJson, LargeBodies, LargeRequest
from wgfleet.panel.api.request_bodies import CALL, MANY, STRANGER
from wgfleet.panel.services.access.callers import READ, WRITE, Caller
from wgfleet.panel.services.fleet.peers import MAX_BATCH

JSON = "application/json"
BATCH = "/api/configs/wg0/peers/batch"


def answer_to(client: httpx.Client, sent: bytes, *, wait_s: float = 5) -> bytes:
    """Send raw bytes and return all that comes back until the panel ends the connection."""
    port = client.base_url.port
    assert port
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as connection:
        connection.sendall(sent)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                received += part
        return received


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", f"Content-Type: {JSON}", *headers, "", ""]).encode()


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Bodies reach no database: SQLite alone."""
    return sqlite_url


def test_every_route_refuses_a_stranger_before_the_body_is_there(
    panel: Panel, anonymous: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "DRAIN_S", 0.01)
    paths = create_app(panel).openapi()["paths"]
    closed = [(method, path) for path, methods in paths.items() if path not in OPEN_PATHS for method in methods]
    assert len(closed) > 40
    for method, path in closed:
        plain = path.replace("{", "").replace("}", "")
        for length in ("Content-Length: 100000", "Transfer-Encoding: chunked"):
            answer = answer_to(anonymous, head(method.upper(), plain, length), wait_s=3)
            assert answer.startswith(b"HTTP/1.1 401 "), f"{method} {path}: {answer[:80]!r}"
            assert b"connection: close" in answer
            assert b"\r\nwww-authenticate: Bearer" in answer.replace(b"WWW-Authenticate", b"www-authenticate")


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/docs", "/nothing", "/api/enroll/", "//api/nodes", "/api/../api/nodes"]
)
def test_what_is_not_open_by_name_needs_a_key(anonymous: httpx.Client, path: str) -> None:
    assert answer_to(anonymous, head("GET", path, "Connection: close")).startswith(b"HTTP/1.1 401 ")


def test_who_sends_a_large_body_without_a_key_still_reads_why_it_is_refused(anonymous: httpx.Client) -> None:
    answer = anonymous.post(BATCH, content=b" " * 8_000_000, headers={"Content-Type": JSON})
    assert answer.status_code == 401
    assert answer.headers["Connection"] == "close"


def test_a_stranger_may_send_64_kilobytes(anonymous: httpx.Client) -> None:
    body = b'{"token": "x", "csr": "y"' + b" " * STRANGER.size + b"}"
    assert anonymous.post("/api/enroll", content=body, headers={"Content-Type": JSON}).status_code == 413
    assert anonymous.post("/api/enroll", content=parts_of(body), headers={"Content-Type": JSON}).status_code == 411
    many = b"[" + b"1," * STRANGER.parts + b"1]"
    assert anonymous.post("/api/enroll", content=many, headers={"Content-Type": JSON}).status_code == 413


@pytest.mark.usefixtures("wg0")
def test_who_may_change_nothing_may_send_no_more_than_a_stranger(client: httpx.Client) -> None:
    key = made(client, "/api/keys", name="ci", scopes=["read"])["key"]
    answer = client.post(
        BATCH, content=b" " * 100_000, headers={"Content-Type": JSON, "Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 413


def test_a_caller_who_sends_all_before_reading_hears_that_it_was_too_much(client: httpx.Client) -> None:
    """As browsers do with a file; one that is reset before that shows a page of its own, and no reason."""
    size = MANY.size + 4_000_000
    sent = head("POST", BATCH, f"Authorization: {client.headers['Authorization']}", f"Content-Length: {size}")
    answer = answer_to(client, sent + b" " * size, wait_s=30)
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:80]
    assert b"larger than" in answer


@pytest.mark.usefixtures("wg0")
def test_only_the_batch_takes_many_values(client: httpx.Client) -> None:
    for path, limits in (("/api/configs", CALL), (BATCH, MANY)):
        for content in (b" " * (limits.size + 1), b"[" + b"{}," * limits.parts + b"{}]"):
            assert client.post(path, content=content, headers={"Content-Type": JSON}).status_code == 413
            assert client.post(path, content=parts_of(content), headers={"Content-Type": JSON}).status_code == 413
    large = json.dumps({"count": 1}).encode() + b" " * 2_000_000
    assert client.post(BATCH, content=large, headers={"Content-Type": JSON}).status_code == 201


@pytest.mark.usefixtures("wg0")
def test_a_body_that_trickles_is_refused(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "_PATIENCE_S", 0.3)
    key = f"Authorization: {client.headers['Authorization']}"
    for length in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
        answer = answer_to(client, head("POST", BATCH, key, length))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()


def test_a_stream_of_events_has_no_limit_of_time(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bodies, "_PATIENCE_S", 0.2)
    with client.stream("GET", "/api/events", timeout=5) as answer, pytest.raises(httpx.ReadTimeout):
        list(answer.iter_lines())


@pytest.mark.usefixtures("wg0")
def test_an_object_with_too_many_fields_is_refused_without_an_error_for_each(client: httpx.Client) -> None:
    peers = [{"name": "x", **{f"f{n}": 1 for n in range(MAX_FIELDS)}}]
    assert client.post(BATCH, json={"peers": peers}).status_code == 422
    fewer = [{"name": "x", **{f"f{n}": 1 for n in range(40)}} for _ in range(5_000)]
    answer = client.post(BATCH, json={"peers": fewer})
    assert answer.status_code == 422
    assert len(answer.content) < 64 * 1024


@pytest.mark.usefixtures("wg0")
@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/api/configs", '{"name": "wg1", "pools": ["10.9.0.0/24"], "name": "wg2"}', "name"),
        ("/api/configs/wg0/peers", '{"name": "anna", "name": "anna"}', "name"),
        (BATCH, '{"peers": [{"name": "a"}, {"name": "b", "notes": "x", "notes": "y"}]}', "notes"),
        (BATCH, json.dumps({"peers": [{"name": "x" * 40}] * 2000})[:-2] + ', {"name": "a", "name": "b"}]}', "name"),
        ("/api/configs/wg0/jobs", '{"field": "total_data", "value": 5, "value": 6}', "value"),
        ("/api/keys", '{"name": "ci", "scopes": ["read"], "scopes": ["admin"]}', "scopes"),
        ("/api/imports/preview", '{"interface": {"name": "wg1", "name": "wg2", "peers": []}}', "name"),
        ("/api/configs/wg0/peers/changes/preview", '{"action": "enable", "filter": {"tag": "a", "tag": "b"}}', "tag"),
    ],
)
def test_a_field_that_stands_twice_is_refused_and_named(client: httpx.Client, path: str, body: str, name: str) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert f"the field {name!r} stands twice" in answer.json()["detail"]


@pytest.mark.usefixtures("wg0")
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/enroll", r'{"token": "x", "csr": "y", "port": "\ud800"}', "port"),
        ("/api/enroll", r'{"token": "x\uDFFF", "csr": "y"}', "token"),
        ("/api/tags", r'{"\ud800": 1}', "body"),
        (BATCH, r'{"peers": [{"name": "a"}, {"name": "b\udc00\ud800"}]}', "peers[1].name"),
        (
            BATCH,
            json.dumps({"peers": [{"name": "x" * 40}] * 2000})[:-2] + r', {"name": "\ud83d"}]}',
            "peers[2000].name",
        ),
        ("/api/nodes", b'{"name": "\xed\xa0\x80"}', "name"),
    ],
)
def test_half_of_a_character_is_refused_where_it_stands(
    client: httpx.Client, path: str, body: str | bytes, field: str
) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": JSON})
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


def test_half_of_a_character_deep_in_a_body_takes_little_memory_to_find() -> None:
    depth, many = 800, 30_000
    body = "[" * depth + "1," * many + r'"\ud800"' + "]" * depth

    async def receive() -> Message:
        return {"type": "http.request", "body": body.encode(), "more_body": False}

    request = LargeRequest({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)
    tracemalloc.start()
    try:
        with pytest.raises(HTTPException) as refused:
            asyncio.run(request.json())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert getattr(refused.value, "field", "") == "[0]" * (depth - 1) + f"[{many}]"
    assert most < 10 * 2**20


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "multipart/form-data; boundary=x", None])
@pytest.mark.parametrize("path", ["/api/tags", BATCH, "/api/enroll"])
def test_a_body_that_nothing_says_is_json_is_refused_for_that(
    client: httpx.Client, path: str, kind: str | None
) -> None:
    """Not for what is in it: who sent an object is not helped by hearing that it must be one."""
    answer = client.post(path, content=b'{"name": "a"}', headers={"Content-Type": kind} if kind else {})
    assert (answer.status_code, "Content-Type: application/json" in answer.json()["detail"]) == (415, True), answer.text
    assert (kind or "no Content-Type") in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/api/tags", BATCH, "/api/enroll", "/login"])
def test_a_compressed_body_is_refused_as_it_is(client: httpx.Client, path: str) -> None:
    small = gzip.compress(b'{"name": "a"}')
    for coding in ("gzip", "deflate", "br", "GZIP, identity"):
        answer = client.post(path, content=small, headers={"Content-Type": JSON, "Content-Encoding": coding})
        assert (answer.status_code, "compressed" in answer.text) == (415, True), answer.text
    plain = client.post("/api/tags", json={"name": "plain"}, headers={"Content-Encoding": "identity"})
    assert plain.status_code == 201, plain.text


def test_a_whole_character_of_two_halves_is_one(client: httpx.Client) -> None:
    answer = client.post("/api/tags", content=r'{"name": "\ud83d\ude00"}', headers={"Content-Type": JSON})
    assert answer.json()["name"] == "\N{GRINNING FACE}", answer.text


def test_every_call_with_a_body_reads_it_carefully() -> None:
    routes = [route for subject in api.SUBJECTS for route in subject.router.routes]
    assert len(routes) > 100
    assert not [route.path for route in routes if not isinstance(route, CarefulJson)]


def test_the_event_loop_goes_on_while_a_large_body_is_parsed() -> None:
    peer = {"public_key": "A" * 43 + "=", "networks": [f"192.168.{n}.0/24" for n in range(8)], "keepalive": 25}
    content = json.dumps({"peers": [peer | {"name": f"user-{n}"} for n in range(20_000)]}).encode()

    async def turns_meanwhile() -> int:
        async def receive() -> Message:
            return {"type": "http.request", "body": content, "more_body": False}

        parsing = asyncio.create_task(LargeRequest({"type": "http", "headers": []}, receive).json())
        turns = 0
        while not parsing.done():
            await asyncio.sleep(0)
            turns += 1
        assert len((await parsing)["peers"]) == 20_000
        return turns

    assert asyncio.run(turns_meanwhile()) > 20


def parts_of(body: bytes) -> Iterator[bytes]:
    """Make httpx send a body in chunks, without its length."""
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


def test_all_that_read_large_bodies_are_sent_them() -> None:
    large = [route for subject in api.SUBJECTS for route in subject.router.routes if isinstance(route, LargeBodies)]
    assert len(large) > 2
    caller = Caller("0" * 32, "key:ci", frozenset({READ, WRITE}), stale_use=False)
    for route in large:
        path = route.path.replace("{config}", "wg0")
        assert request_bodies.limits_of(path, caller) == (MANY if "batch" in path or "import" in path else CALL), path
    assert request_bodies.limits_of("/api/imports/other", caller) == CALL


def test_the_largest_import_fits() -> None:
    peer = {
        name: ["192.0.2.100/32", "2001:db8:1234:5678::1/128"] if "list" in str(field.annotation) else "x" * 44
        for name, field in PeerToImport.model_fields.items()
    }
    body = json.dumps({"interface": {"name": "wg0", "peers": [peer] * MAX_BATCH}})
    assert len(body) < MANY.size
    assert sum(body.count(mark) for mark in ",[{") < MANY.parts
