"""Who gets in: API keys and their scopes, join tokens, and what is audited of it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from tests.panel.conftest import made
from wgfleet.panel import clock
from wgfleet.panel.api import SUBJECTS, Panel, create_app, events
from wgfleet.panel.api.attempts import FAILURES, WINDOW_S
from wgfleet.panel.api.auth import OPEN_PATHS
from wgfleet.panel.services import audit
from wgfleet.panel.services.access import api_keys, callers
from wgfleet.panel.services.fleet import join_tokens, nodes
from wgfleet.panel.store.tables import ApiKey, JoinToken


def scopes_of(dependant: Dependant) -> set[str]:
    return set(dependant.own_oauth_scopes or ()).union(*(scopes_of(inner) for inner in dependant.dependencies))


def test_every_route_needs_a_scope_but_for_the_declared_exceptions() -> None:
    routes = [route for subject in SUBJECTS for route in subject.router.routes]
    assert len(routes) > 40
    for route in routes:
        assert isinstance(route, APIRoute)
        if route.path in OPEN_PATHS:
            continue
        found = scopes_of(route.dependant)
        assert len(found) == 1, f"{route.path} declares {found or 'no scope'}"
        assert (found <= {callers.OWN, callers.DEVICES}) == route.path.startswith("/api/me")
        if route.methods != {"GET"}:
            assert found <= {callers.WRITE, callers.NODES, callers.ADMIN, callers.OWN, callers.DEVICES}, (
                f"{route.path} changes things with {found}"
            )


def test_nothing_else_is_served_without_a_key(panel: Panel, anonymous: httpx.Client) -> None:
    app = create_app(panel)
    for path, operations in app.openapi()["paths"].items():
        if path in OPEN_PATHS:
            continue
        for method in operations:
            answer = anonymous.request(method, path.replace("{", "").replace("}", ""), json={})
            assert answer.status_code == 401, f"{method} {path}: {answer.status_code}"
            assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.usefixtures("wg0")
def test_a_key_opens_what_its_scopes_say_and_no_more(client: httpx.Client, anonymous: httpx.Client) -> None:
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    keys = {scope: made(client, "/api/keys", name=f"a-{scope}", scopes=[scope])["key"] for scope in callers.SCOPES}
    calls = {
        "read": ("GET", "/api/configs", None),
        "write": ("POST", "/api/node-groups", {"name": "eu"}),
        "nodes": ("POST", "/api/nodes", {"name": "fra1", "endpoint_addresses": ["192.0.2.1"]}),
        "secrets": ("GET", f"/api/peers/{peer['id']}/config", None),
        "admin": ("GET", "/api/keys", None),
    }
    for name, key in keys.items():
        for scope, (method, path, body) in calls.items():
            answer = anonymous.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
            allowed = name in {scope, "admin"}
            assert (answer.status_code != 403) == allowed, f"key {name} at {path}: {answer.text}"


def test_a_key_is_shown_once_and_only_its_digest_is_kept(client: httpx.Client, panel: Panel) -> None:
    key = made(client, "/api/keys", name="ci", scopes=["read"])["key"]
    assert key not in client.get("/api/keys").text
    with panel.store.read() as tx:
        row = api_keys.get_key(tx, "ci")
        assert key not in repr(vars(row))
        assert key not in repr([vars(entry) for entry in audit.page(tx, limit=1000)[0]])


def test_both_headers_take_a_key_and_revoking_it_shuts_it_out(client: httpx.Client, anonymous: httpx.Client) -> None:
    key = made(client, "/api/keys", name="ci", scopes=["read"])["key"]
    for header in ({"Authorization": f"Bearer {key}"}, {"Authorization": "", "X-API-Key": key}):
        assert anonymous.get("/api/nodes", headers=header).status_code == 200
    assert client.delete("/api/keys/ci").status_code == 204
    assert anonymous.get("/api/nodes", headers={"Authorization": f"Bearer {key}"}).status_code == 401


def test_a_key_expires_while_there_is_a_calendar(client: httpx.Client) -> None:
    """A time that no calendar has could not be shown again, and with it no key at all."""
    body = {"name": "ci", "scopes": ["read"], "expires_at": "9999-12-31T23:59:59-23:59"}
    answer = client.post("/api/keys", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == "expires_at"
    assert client.get("/api/keys").status_code == 200


def test_an_expired_key_is_refused(client: httpx.Client, panel: Panel) -> None:
    key = made(client, "/api/keys", name="ci", scopes=["read"], expires_at="2100-01-01T00:00:00Z")["key"]
    with panel.store.write() as tx:
        tx.session.get_one(ApiKey, api_keys.get_key(tx, "ci").id).expires_at = clock.now() - 1
    answer = client.get("/api/nodes", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]


def test_last_use_is_noted_at_most_once_a_minute(client: httpx.Client) -> None:
    first = client.get("/api/keys").json()["items"][0]["last_used_at"]
    second = client.get("/api/keys").json()["items"][0]["last_used_at"]
    assert first is not None
    assert first == second


def token_of(client: httpx.Client, node: dict[str, Any]) -> str:
    return str(made(client, f"/api/nodes/{node['id']}/join-token")["token"])


def test_of_many_agents_with_one_token_one_gets_in(client: httpx.Client, panel: Panel, fra1: dict[str, Any]) -> None:
    token = token_of(client, fra1)

    def redeem(_: int) -> str:
        try:
            with panel.store.write() as tx:
                return join_tokens.redeem(tx, token).name
        except join_tokens.TokenRefused as refused:
            return refused.reason

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(redeem, range(16))) == ["fra1", *["used"] * 15]


def test_refused_tokens_are_audited_with_the_reason(
    client: httpx.Client, anonymous: httpx.Client, panel: Panel, fra1: dict[str, Any]
) -> None:
    expired, used = token_of(client, fra1), ""
    with panel.store.write() as tx:
        tx.session.query(JoinToken).update({"expires_at": clock.now() - 1})
    assert anonymous.post("/api/enroll", json={"token": expired, "csr": "x"}).status_code == 401
    used = token_of(client, fra1)
    with panel.store.write() as tx:
        join_tokens.redeem(tx, used)
    for token in (used, "wgj_unknown"):
        assert anonymous.post("/api/enroll", json={"token": token, "csr": "x"}).status_code == 401
    entries = client.get("/api/audit-logs", params={"entity_type": "join_token", "action": "refused"}).json()["items"]
    assert [entry["details"]["reason"] for entry in entries] == ["unknown", "used", "expired"]
    assert entries[1]["entity_id"] == fra1["id"]
    assert entries[0]["details"]["remote"] == "127.0.0.1"


def test_a_new_token_ends_the_one_before(client: httpx.Client, panel: Panel, fra1: dict[str, Any]) -> None:
    before, after = token_of(client, fra1), token_of(client, fra1)
    with panel.store.write() as tx, pytest.raises(join_tokens.TokenRefused, match="is unknown"):
        join_tokens.redeem(tx, before)
    with panel.store.write() as tx:
        assert join_tokens.redeem(tx, after).id == fra1["id"]


def test_a_bad_certificate_request_does_not_use_the_token_up(
    client: httpx.Client, panel: Panel, fra1: dict[str, Any]
) -> None:
    token = token_of(client, fra1)
    answer = client.post("/api/enroll", json={"token": token, "csr": "nonsense"})
    assert (answer.status_code, answer.json()["field"]) == (422, "csr")
    with panel.store.write() as tx:
        assert join_tokens.redeem(tx, token).id == nodes.get(tx, "fra1").id


def test_an_address_that_guesses_tokens_is_put_off_and_fills_no_log(
    anonymous: httpx.Client, client: httpx.Client
) -> None:
    answers = [anonymous.post("/api/enroll", json={"token": f"wgj_{n}", "csr": "x"}) for n in range(FAILURES + 3)]
    assert [answer.status_code for answer in answers] == [401] * FAILURES + [429] * 3
    assert 0 < int(answers[-1].headers["Retry-After"]) <= WINDOW_S
    [entry] = client.get("/api/audit-logs", params={"action": "refused"}).json()["items"]
    assert entry["details"] == {"reason": "unknown", "remote": "127.0.0.1", "count": 1}


def test_refusals_after_the_first_are_one_entry_a_minute(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    for number in range(500):
        address = f"2001:db8:0:1::{number:x}"
        panel.refusals.token_refused(panel.store, address, join_tokens.TokenRefused("no", "unknown"))
    now += 61
    panel.refusals.settle(panel.store)
    with panel.store.read() as tx:
        entries = [entry.details for entry in audit.page(tx, action="refused")[0]]
    assert entries == [
        {"reason": "unknown", "remote": "2001:db8:0:1::/64", "count": 499},
        {"reason": "unknown", "remote": "2001:db8:0:1::0", "count": 1},
    ]


def test_refused_keys_are_counted_and_logged_once(
    anonymous: httpx.Client, panel: Panel, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(50):
        assert anonymous.get("/api/nodes", headers={"X-API-Key": "wgf_wrong"}).status_code == 401
    assert panel.refusals.counts["key"] == 50
    said = capfd.readouterr()
    assert (said.out + said.err).count("key.refused") == 1
    assert "wgf_wrong" not in said.out + said.err


def test_a_stream_of_events_ends_when_its_key_is_revoked(
    client: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PING_S", 0.2)
    key = made(client, "/api/keys", name="looker", scopes=["read"])["key"]
    with client.stream("GET", "/api/events", headers={"Authorization": f"Bearer {key}"}, timeout=10) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("event")
        with panel.store.write() as tx:
            api_keys.revoke_key(tx, "test", api_keys.get_key(tx, "looker"))
        assert len(list(lines)) < 20  # what was under way; then the end
