"""Signing in with an OpenID provider: an honest one lets people in, and whatever a hostile one says lets nobody in."""

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
import httpx
import pytest
from joserfc.jwk import RSAKey

from tests.panel.access.people import new_user
from tests.panel.conftest import made
from tests.panel.identity import oidc_servers
from tests.panel.identity.oidc_servers import Hostile, signed_in_there
from wgfleet.panel import clock, passwords
from wgfleet.panel.api import Panel
from wgfleet.panel.dns import questions
from wgfleet.panel.identity import directory, oidc
from wgfleet.panel.store import sealed
from wgfleet.panel.store.tables import SignInProvider

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ROLES = {"vpn": "operator", "vpn-admins": "admin"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    people = (
        {"sub": "1", "preferred_username": "anna@example.com", "groups": ["VPN", "staff"]},
        {"sub": "2", "preferred_username": "bea", "groups": ["staff"]},
    )
    with oidc_servers.honest(*people) as running:
        yield running


@pytest.fixture
def provider() -> Iterator[Hostile]:
    with oidc_servers.hostile() as running:
        yield running


@pytest.fixture
def visitor(anonymous: httpx.Client) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=anonymous.base_url, trust_env=False, timeout=120) as client:
        yield client


def company(client: httpx.Client, issuer: str, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"name": "company", "oidc": {"issuer": issuer, "client_id": "panel"}, "roles": ROLES}
    return made(client, "/api/sign-in-providers", **(body | {"secret": "the-secret"} | more))


def begun(visitor: httpx.Client, **more: str) -> dict[str, str]:
    answer = visitor.post("/api/sign-in/oidc/begin", json={"provider": "company"} | more)
    assert answer.status_code == 200, answer.text
    started: dict[str, str] = answer.json()
    return started


def finished(visitor: httpx.Client, started: dict[str, str], query: dict[str, str]) -> httpx.Response:
    body = {"browser": started["browser"], "state": query["state"], "code": query["code"]}
    return visitor.post("/api/sign-in/oidc/finish", json=body)


def test_the_first_sign_in_makes_the_user_with_the_role_of_the_groups(
    client: httpx.Client, visitor: httpx.Client, issuer: str
) -> None:
    company(client, issuer)
    assert client.post("/api/sign-in-providers/company/test").json()["ok"] is True
    assert visitor.get("/api/sign-in/providers").json()["items"] == [{"name": "company", "kind": "oidc"}]
    names = []
    for _ in range(2):
        started = begun(visitor)
        answer = finished(visitor, started, signed_in_there(started["url"], "1"))
        assert answer.status_code == 201, answer.text
        me = visitor.get("/api/me", headers={"Authorization": f"Bearer {answer.json()['token']}"}).json()
        names.append((me["name"], "write" in me["scopes"], "admin" in me["scopes"]))
    assert names == [("anna-example.com", True, False)] * 2
    shown = client.get("/api/users/anna-example.com").json()
    assert (shown["provider"], shown["has_password"], shown["sign_ins"]) == ("company", False, 2)
    assert client.post("/api/users/anna-example.com/password-link").status_code == 409
    started = begun(visitor)
    refused = finished(visitor, started, signed_in_there(started["url"], "2"))
    assert (refused.status_code, "none of your groups" in refused.json()["detail"]) == (401, True)
    assert client.delete("/api/sign-in-providers/company").status_code == 409
    client.patch("/api/users/anna-example.com", json={"disabled": True})
    started = begun(visitor)
    assert "disabled" in finished(visitor, started, signed_in_there(started["url"], "1")).json()["detail"]


@SQLITE
def test_nobody_is_made_beside_a_user_whose_name_differs_in_case_alone(
    client: httpx.Client, visitor: httpx.Client, issuer: str
) -> None:
    company(client, issuer)
    made(client, "/api/users", name="Anna-Example.COM", role="viewer")
    started = begun(visitor)
    answer = finished(visitor, started, signed_in_there(started["url"], "1"))
    assert (answer.status_code, "'Anna-Example.COM' already" in answer.json()["detail"]) == (401, True)


@SQLITE
def test_a_code_counts_in_the_browser_that_began_alone(
    client: httpx.Client, visitor: httpx.Client, issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    company(client, issuer)
    mine, others = begun(visitor), begun(visitor)
    query = signed_in_there(mine["url"], "1")
    for started in (others, {"browser": "x"}, {"browser": base64.urlsafe_b64encode(b"x" * 64).decode()}):
        assert finished(visitor, started, query).status_code == 401
    now = clock.now()
    with monkeypatch.context() as patched:
        patched.setattr(clock, "now", lambda: now + oidc.BEGUN_S + 1)
        assert "too long" in finished(visitor, mine, query).json()["detail"]
    assert finished(visitor, mine, query).status_code == 201
    assert finished(visitor, mine, query).status_code == 401  # the provider takes a code once
    asked = parse_qs(urlsplit(mine["url"]).query)
    assert (asked["code_challenge_method"], asked["response_type"]) == (["S256"], ["code"])
    assert asked["redirect_uri"] == [f"{str(visitor.base_url).rstrip('/')}/sign-in/oidc"]
    for uri in (
        "https://evil.example/",
        "http://evil.example/",
        "http://127.0.0.1.evil.example/",
        "javascript:alert(1)",
        "http://[",
        "http://127.0.0.1:99999/",
    ):
        answer = visitor.post("/api/sign-in/oidc/begin", json={"provider": "company", "redirect_uri": uri})
        assert (answer.status_code, answer.json()["field"]) == (422, "redirect_uri")
    assert "127.0.0.1%3A7" in begun(visitor, redirect_uri="http://127.0.0.1:7/")["url"]


def tried(visitor: httpx.Client, provider: Hostile) -> httpx.Response:
    started = begun(visitor)
    asked = parse_qs(urlsplit(started["url"]).query)
    provider.nonce = asked["nonce"][0]
    return finished(visitor, started, {"state": asked["state"][0], "code": "a-code"})


LIES: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://id.example.com"},
    "another audience": {"aud": "another"},
    "audiences beside ours": {"aud": ["panel", "another"]},
    "for another party": {"azp": "another"},
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "expired": {"exp": 1_700_000_000},
    "no end": {"exp": None},
    "from the future": {"iat": 4_000_000_000, "nbf": 4_000_000_000},
    "nobody": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is no text": {"sub": 7},
    "another access token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
}


@SQLITE
def test_a_token_that_lies_lets_nobody_in(
    client: httpx.Client, visitor: httpx.Client, panel: Panel, provider: Hostile
) -> None:
    company(client, provider.issuer)
    panel.sign_in_attempts._most = 1000  # noqa: SLF001 - each lie is a refusal
    for what, lie in LIES.items():
        provider.claims = lie
        answer = tried(visitor, provider)
        assert answer.status_code == 401, f"{what}: {answer.text}"
    provider.claims = {}
    for signing in ("none", "HS256"):
        provider.signing = signing
        assert tried(visitor, provider).status_code == 401, signing
    provider.signing = "RS256"
    provider.published = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
    panel.oidc.test(oidc.OidcOptions(provider.issuer, "panel", None))  # reads the keys that are published now
    assert tried(visitor, provider).status_code == 401, "a key that is not published"
    provider.published = None
    provider.claims, provider.told = {"groups": None}, {"sub": "somebody else", "groups": ["vpn-admins"]}
    panel.oidc.test(oidc.OidcOptions(provider.issuer, "panel", None))
    assert tried(visitor, provider).status_code == 401, "what is told of somebody else"
    assert client.get("/api/users").json()["items"] == []
    provider.claims = {"exp": int(clock.now()) - oidc.SKEW_S + 20}  # our clock is ahead of the provider's
    assert tried(visitor, provider).status_code == 201
    secrets = [form["authorization"] for form in provider.forms]
    assert base64.b64decode(secrets[0].removeprefix("Basic ")) == b"panel:the-secret"
    assert all("code_verifier" in form for form in provider.forms)


@SQLITE
def test_new_keys_of_a_provider_are_fetched_when_a_token_has_one(
    client: httpx.Client, visitor: httpx.Client, provider: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    company(client, provider.issuer)
    assert tried(visitor, provider).status_code == 201
    provider.key = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
    monkeypatch.setattr(oidc, "_AGAIN_S", 0.0)
    assert tried(visitor, provider).status_code == 201


@SQLITE
def test_who_is_nobody_here_is_refused_where_an_administrator_wants_it_so(
    client: httpx.Client, visitor: httpx.Client, provider: Hostile
) -> None:
    company(client, provider.issuer, makes_users=False)
    assert "made you a user" in tried(visitor, provider).json()["detail"]
    client.patch("/api/sign-in-providers/company", json={"makes_users": True})
    new_user(client, "anna")
    assert "there is a user 'anna' already" in tried(visitor, provider).json()["detail"]
    client.delete("/api/users/anna")
    assert tried(visitor, provider).status_code == 201
    client.patch("/api/sign-in-providers/company", json={"roles": {"vpn": "viewer"}})
    assert tried(visitor, provider).status_code == 201
    assert client.get("/api/users/anna").json()["role"] == "viewer"
    client.patch("/api/sign-in-providers/company", json={"enabled": False})
    assert visitor.post("/api/sign-in/oidc/begin", json={"provider": "company"}).status_code == 404


@SQLITE
def test_a_provider_that_is_away_or_no_provider_is_named(
    client: httpx.Client, visitor: httpx.Client, provider: Hostile
) -> None:
    company(client, "http://127.0.0.1:9")
    answer = visitor.post("/api/sign-in/oidc/begin", json={"provider": "company"})
    assert (answer.status_code, "127.0.0.1:9" in answer.json()["detail"]) == (503, True)
    assert client.post("/api/sign-in-providers/company/test").json()["ok"] is False
    moved = {"oidc": {"issuer": provider.issuer, "client_id": "panel"}}
    assert client.patch("/api/sign-in-providers/company", json=moved).json()["field"] == "secret"
    assert client.patch("/api/sign-in-providers/company", json=moved | {"secret": "s"}).status_code == 200
    provider.described = {"issuer": "https://another.example"}
    told = client.post("/api/sign-in-providers/company/test").json()
    assert (told["ok"], "calls itself 'https://another.example'" in told["finding"]) == (False, True)
    provider.described, provider.code_answer = {}, {"error": "invalid_grant"}
    assert "invalid_grant" in tried(visitor, provider).json()["detail"]
    for issuer in ("http://id.example.com", "ftp://x", "https://"):
        body = {"name": "x", "oidc": {"issuer": issuer, "client_id": "panel"}}
        assert client.post("/api/sign-in-providers", json=body).json()["field"] == "oidc.issuer", issuer


@SQLITE
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization_endpoint", "https://["),
        ("token_endpoint", "https://id.example.com:99999/"),
        ("jwks_uri", 5),
        ("userinfo_endpoint", "http://["),
    ],
)
def test_a_place_in_a_provider_s_description_that_cannot_be_asked_is_named(
    client: httpx.Client, visitor: httpx.Client, provider: Hostile, name: str, value: object
) -> None:
    company(client, provider.issuer)
    provider.described = {name: value}
    told = client.post("/api/sign-in-providers/company/test").json()
    assert (told["ok"], f"no {name} that can be used" in told["finding"]) == (False, True)
    assert visitor.post("/api/sign-in/oidc/begin", json={"provider": "company"}).status_code == 503


@SQLITE
def test_ways_to_give_the_secret_that_are_no_list_count_as_none(
    client: httpx.Client, visitor: httpx.Client, provider: Hostile
) -> None:
    company(client, provider.issuer, secret="s")  # noqa: S106 - of this test
    provider.described = {"token_endpoint_auth_methods_supported": 5}
    assert tried(visitor, provider).status_code == 201


@SQLITE
def test_strangers_who_begin_hold_few_threads(
    client: httpx.Client, visitor: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    company(client, "http://127.0.0.1:9")
    full = threading.BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr(oidc, "_present", full)
    answer = visitor.post("/api/sign-in/oidc/begin", json={"provider": "company"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")


def test_threads_are_left_where_all_who_may_wait_for_somebody_do() -> None:
    async def threads() -> float:
        return anyio.to_thread.current_default_thread_limiter().total_tokens

    waiting = oidc.PRESENT + directory.PRESENT + passwords.PRESENT + questions.AT_A_TIME
    assert waiting <= anyio.run(threads) * 0.8


def test_a_providers_secret_is_sealed_and_never_shown(client: httpx.Client, panel: Panel) -> None:
    company(client, "https://id.example.com", secret="a-secret-of-theirs")  # noqa: S106 - nobody's
    shown = [client.get(path).text for path in ("/api/sign-in-providers", "/api/audit-logs")]
    assert "a-secret-of-theirs" not in json.dumps(shown)
    with panel.store.read() as tx:
        row = tx.session.query(SignInProvider).one()
        assert "a-secret-of-theirs" not in repr(vars(row))
        assert sealed.unseal(panel.vault, SignInProvider.secret_sealed, row) == "a-secret-of-theirs"
