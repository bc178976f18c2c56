"""Input that a call does not read: it is refused, and nothing is done."""

import httpx
import pytest

from tests.panel.conftest import made


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What is refused reaches no database: SQLite alone."""
    return sqlite_url


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("DELETE", "/api/configs/wg0?dry_run=true", None, "dry_run"),
        ("DELETE", "/api/nodes/fra1?forced=true", None, "forced"),
        ("POST", "/api/nodes/fra1/drain?relay=3600", None, "relay"),
        ("POST", "/api/nodes/fra1/drain", {"relay_s": 3600}, "body"),
        ("POST", "/api/nodes/fra1/cordon", [], "body"),
        ("DELETE", "/api/nodes/fra1", {"force": True}, "body"),
        ("PATCH", "/api/configs/wg0?mtu=1280", {"mtu": 1400}, "mtu"),
        ("POST", "/api/configs/wg0/rebalance?force=true", None, "force"),
    ],
)
def test_what_a_call_does_not_read_is_refused(
    client: httpx.Client, method: str, path: str, body: object, field: str
) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.10"])
    answer = client.request(method, path, json=body) if body is not None else client.request(method, path)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert client.get("/api/configs/wg0").json()["mtu"] is None
    assert not client.get("/api/nodes/fra1").json()["cordoned"]


def test_an_empty_body_and_the_parameters_that_there_are_do_no_harm(client: httpx.Client) -> None:
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.10"])
    for content in (b"", b"{}", b" null "):
        headers = {"Content-Type": "application/json"}
        answer = client.post("/api/nodes/fra1/cordon", content=content, headers=headers)
        assert answer.status_code == 200, answer.text
    assert client.post("/api/nodes/fra1/drain?relay_s=60&force=true").status_code == 202
    assert client.get("/healthz?anything=1").status_code == 200, "a probe may add what keeps caches out"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/configs/wg0/peers?color=red", "color"),
        ("/api/configs/wg0/files?tags=office", "tags"),
        ("/api/configs/wg0/peers/csv?Search=anna", "Search"),
        ("/api/nodes?limit=5&name=fra1", "name"),
        ("/api/nodes/fra1/deletion?forced=true", "forced"),
    ],
)
def test_a_filter_that_a_list_does_not_have_is_refused(client: httpx.Client, path: str, field: str) -> None:
    """The answer would be all that there is: all peers, or the files of all."""
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.10"])
    answer = client.get(path)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
