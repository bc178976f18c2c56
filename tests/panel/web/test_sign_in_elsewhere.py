"""Signing in with an OpenID provider or by a proxy, as a browser does, and what links and strangers cannot do there."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.panel.identity import oidc_servers
from tests.panel.identity.oidc_servers import Hostile
from tests.panel.test_door import opened_doors
from tests.panel.web.conftest import Browser, Person, submit, token_of
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.api.attempts import FAILURES
from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.services.access import providers
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.providers import ProviderSpec
from wgfleet.panel.settings.door import DoorSettings
from wgfleet.panel.web import install


@pytest.fixture(scope="module")
def provider(panel: Panel) -> Iterator[Hostile]:
    """A provider of the name `company`, and another that vouches by a proxy's headers."""
    with oidc_servers.hostile() as running:
        options = {"issuer": running.issuer, "client_id": "panel"}
        headers = {"user_header": "Remote-User", "groups_header": None}
        with panel.store.write() as tx:
            for spec in (
                ProviderSpec("company", ProviderKind.OIDC, options, "secret", roles={"vpn": Role.VIEWER}),
                ProviderSpec("gate", ProviderKind.FORWARDED, headers, default_role=Role.VIEWER),
            ):
                providers.create(tx, panel.vault, "test", spec)
        yield running


def sent(client: httpx.Client, provider: Hostile, path: str = "/login/with/company") -> dict[str, str]:
    """Go to the provider; return what it was asked."""
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    query = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    provider.nonce = query["nonce"]
    return query


def came_back(client: httpx.Client, state: str, **more: str) -> httpx.Response:
    return client.get("/sign-in/oidc", params={"state": state, "code": "a-code"} | more)


def test_a_provider_signs_in_and_leads_back_to_the_page_that_was_wanted(provider: Hostile, browser: Browser) -> None:
    client = browser()
    login = client.get("/nodes?connected=yes").text
    (path,) = re.findall(r'href="(/login/with/company[^"]*)"', login)
    query = sent(client, provider, path)
    assert query["redirect_uri"] == f"{str(client.base_url).rstrip('/')}/sign-in/oidc"
    answer = came_back(client, query["state"])
    assert (answer.status_code, answer.url.path, answer.url.query) == (200, "/nodes", b"connected=yes")
    assert "wgfleet-begun" not in client.cookies
    assert "anna" in client.get("/profile").text


def test_the_cookie_of_who_began_is_for_no_script_and_not_for_long(provider: Hostile, browser: Browser) -> None:
    answer = browser().get("/login/with/company", follow_redirects=False)
    assert provider.issuer in answer.headers["location"]
    (cookie,) = [each for each in answer.headers.get_list("set-cookie") if each.startswith("wgfleet-begun")]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=600" in cookie


def test_an_answer_counts_in_the_browser_that_began_alone(provider: Hostile, browser: Browser, panel: Panel) -> None:
    victim, attacker = browser(), browser()
    query = sent(attacker, provider)
    for client in (victim, browser()):
        answer = came_back(client, query["state"])
        assert (answer.status_code, answer.url.path) == (401, "/sign-in/oidc"), "nobody is signed in as somebody else"
        assert "wgfleet" not in client.cookies
    sent(victim, provider)
    assert came_back(victim, query["state"]).status_code == 401, "the state is of another browser"
    assert "wgfleet" not in victim.cookies
    assert came_back(victim, query["state"]).status_code == 401, "what was kept is forgotten"
    with panel.notes.changing() as notes:  # others come from this address too
        notes.execute("DELETE FROM attempts")


def test_a_page_of_somebody_else_locks_nobody_out_and_makes_nobody_another_user(
    provider: Hostile, browser: Browser, person: Person
) -> None:
    victim = browser()
    for _ in range(FAILURES + 1):
        assert came_back(victim, "any").status_code == 401
    assert came_back(victim, sent(victim, provider)["state"]).status_code == 200
    admin = person()
    assert admin.get("/login/with/company", follow_redirects=False).headers["location"] == "/"


@pytest.mark.parametrize("following", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:1"])
def test_nobody_is_led_elsewhere_after_signing_in(provider: Hostile, browser: Browser, following: str) -> None:
    client = browser()
    answer = client.get("/login/with/company", params={"next": following}, follow_redirects=False)
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    provider.nonce = query["nonce"][0]
    back = client.get("/sign-in/oidc", params={"state": query["state"][0], "code": "x"}, follow_redirects=False)
    assert (back.status_code, back.headers["location"]) == (303, "/")


def test_a_sign_in_that_somebody_has_chosen_is_not_kept(provider: Hostile, browser: Browser) -> None:
    client = browser()
    client.cookies.set("wgfleet", "wgs_chosen-by-somebody-else", domain="127.0.0.1")
    came_back(client, sent(client, provider)["state"])
    given = [each.value for each in client.cookies.jar if each.name == "wgfleet"]
    assert len(given) == 1
    assert given[0] != "wgs_chosen-by-somebody-else"


@pytest.mark.parametrize("error", ["access_denied", "please call <b>us</b>", "\x00", "x" * 4000])
def test_what_a_provider_refuses_is_said_and_nothing_of_what_a_link_says(
    provider: Hostile, browser: Browser, error: str
) -> None:
    client = browser()
    state = sent(client, provider)["state"]
    told = client.get("/sign-in/oidc", params={"state": state, "error": error, "error_description": "CALL NOW"})
    assert told.status_code == 401
    assert "the provider did not sign you in" in told.text
    assert ("access_denied" in told.text) == (error == "access_denied")
    assert "please call" not in told.text
    assert "CALL NOW" not in told.text


@pytest.mark.parametrize("name", ["none", "gate", "company%2F..", "x" * 300])
def test_nobody_is_sent_to_what_is_no_such_provider(provider: Hostile, browser: Browser, name: str) -> None:
    assert provider.issuer
    answer = browser().get(f"/login/with/{name}", follow_redirects=False)
    assert answer.status_code in {303, 404, 422}
    assert answer.headers.get("location", "/login").startswith("/login")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"challenge": "x", "credential": "{}"},
        {"challenge": "x" * 5000, "credential": "{}"},
        {"challenge": "x", "credential": "[" * 10_000},
        {"challenge": "x", "credential": "7"},
        {"challenge": "é", "credential": '{"id": 7, "response": []}'},
    ],
)
def test_what_is_no_answer_of_an_authenticator_lets_nobody_in(
    browser: Browser, panel: Panel, fields: dict[str, str]
) -> None:
    client = browser()
    client.base_url = httpx.URL(str(client.base_url).replace("127.0.0.1", "localhost"))
    answer = submit(client, "/login/passkey", on="/login", **fields)
    assert answer.status_code in {401, 422}
    assert "That was refused" in answer.text
    with panel.notes.changing() as notes:  # as above
        notes.execute("DELETE FROM attempts")


def test_a_proxy_that_is_trusted_signs_in_and_a_strangers_header_does_not(panel: Panel, provider: Hostile) -> None:
    assert provider.issuer
    person = {"Remote-User": "zoe"}
    app = create_app(panel)
    install(app, panel)
    with opened_doors(panel, DoorSettings(trusted_proxies=("127.0.0.2",)), app) as doors:
        url = f"http://127.0.0.1:{doors.plain}"

        def through(source: str, headers: dict[str, str]) -> httpx.Client:
            transport = httpx.HTTPTransport(local_address=source)
            return httpx.Client(
                base_url=url, transport=transport, headers=headers, trust_env=False, timeout=60, follow_redirects=True
            )

        with through("127.0.0.3", person) as stranger, through("127.0.0.2", person) as proxied:
            page = stranger.get("/login").text
            assert "Sign in with gate" not in page
            form = {"form_token": token_of(page), "provider": "gate"}
            assert stranger.post("/login/forwarded", data=form).status_code == 401
            assert "wgfleet" not in stranger.cookies
            assert "Sign in with gate" in proxied.get("/login").text
            answer = submit(proxied, "/login/forwarded", on="/login", provider="gate")
            assert (answer.status_code, answer.url.path) == (200, "/")
            assert "zoe" in answer.text
