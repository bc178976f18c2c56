"""The page of one's account: password, second factor, passkeys, and where one is signed in."""

import re
from typing import Any

import httpx
import pyotp
import pytest

from tests.panel.web.conftest import PASSWORD, Browser, Person, submit, token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.identities import ProviderKind, VouchedPerson
from wgfleet.panel.services.access import external, providers
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.providers import ProviderSpec
from wgfleet.panel.services.access.second_factors import RECOVERY_CODES

NEXT = "other words that nobody says"


def lets_in(browser: Browser, name: str, password: str) -> bool:
    return submit(browser(), "/login", name=name, password=password).url.path != "/login"


@pytest.mark.parametrize(
    ("role", "words"),
    [
        (Role.ADMIN, "administrator"),
        (Role.OPERATOR, "operator"),
        (Role.VIEWER, "viewer"),
        (Role.SELF_SERVICE, "own devices only"),
    ],
)
def test_everybody_has_an_account_to_look_at(person: Person, role: Role, words: str) -> None:
    answer = person(role).get("/profile")
    assert (answer.status_code, f"<dd>{words}</dd>" in answer.text) == (200, True)


def test_a_new_password_counts_and_ends_all_other_sign_ins(person: Person, browser: Browser) -> None:
    here, there = person(Role.VIEWER, "dora"), person(Role.VIEWER, "dora")
    path, right = "/profile/password", {"password": PASSWORD, "new_password": NEXT, "password_again": NEXT}
    for wrong, field in (
        ({"password": "not the present one"}, "password"),
        ({"password_again": "another"}, "password_again"),
        ({"new_password": "short", "password_again": "short"}, "new_password"),
        ({"new_password": "x" * 5000, "password_again": "x" * 5000}, "new_password"),
    ):
        answer = submit(here, path, **(right | wrong))
        assert (answer.status_code, f'id="{field}-wrong"' in answer.text) == (422, True), wrong
        assert "another" not in answer.text
    assert "is changed" in submit(here, path, **right).text
    assert there.get("/profile").url.path == "/login"
    assert lets_in(browser, "dora", NEXT)
    assert not lets_in(browser, "dora", PASSWORD)


def test_a_second_factor_is_set_up_renewed_and_removed(person: Person, browser: Browser) -> None:
    client, path = person(Role.VIEWER, "emil"), "/profile/second-factor"
    assert submit(client, path, password="it is not this").status_code == 422  # noqa: S106 - a guess
    shown = submit(client, path, password=PASSWORD).text
    secret = re.search(r'id="secret" dir="ltr">(\w+)<', shown)
    assert secret is not None
    assert 'src="data:image/svg+xml' in shown
    token = {"form_token": token_of(shown)}
    wrong = client.post(f"{path}/confirm", data={**token, "code": "1"})
    assert (wrong.status_code, secret[1] in wrong.text) == (422, False), "a secret is shown once"
    codes = client.post(f"{path}/confirm", data={**token, "code": pyotp.TOTP(secret[1]).now()}).text
    first = re.findall(r"\b(?:\w{4}-){3}\w{4}\b", codes)
    assert len(first) == RECOVERY_CODES
    second = re.findall(r"\b(?:\w{4}-){3}\w{4}\b", submit(client, "/profile/recovery-codes", password=PASSWORD).text)
    assert (len(second), set(first) & set(second)) == (RECOVERY_CODES, set())
    stranger = browser()
    for code, path_then in ((first[0], "/login/code"), (second[0], "/")):
        asked = submit(stranger, "/login", name="emil", password=PASSWORD).text
        ticket = asked.partition('name="ticket" value="')[2].partition('"')[0]
        given = {"form_token": token_of(asked), "ticket": ticket, "code": code}
        assert stranger.post("/login/code", data=given).url.path == path_then
    assert f"{RECOVERY_CODES - 1} recovery codes are left" in client.get("/profile").text
    assert "is removed" in submit(client, f"{path}/remove", password=PASSWORD).text
    assert submit(client, "/profile/recovery-codes", password=PASSWORD).status_code == 409
    assert lets_in(browser, "emil", PASSWORD)


def asked(client: httpx.Client, page: str, path: str, **fields: str) -> dict[str, Any]:
    token = token_of(client.get(page).text)
    answer: dict[str, Any] = client.post(path, data={"form_token": token, **fields}).json()
    return answer


def test_passkeys_belong_to_a_host_name(person: Person) -> None:
    client = person(Role.VIEWER, "fred")
    assert "public_url" in client.get("/profile").text
    assert (
        "public_url" in asked(client, "/profile", "/profile/passkeys/begin", password=PASSWORD, name="laptop")["detail"]
    )


@pytest.mark.parametrize("name", ["", "a" * 65, "one\nline", "left\u202eright", "\u200b"])
def test_the_name_of_a_passkey_is_looked_at_before_an_authenticator_makes_one(person: Person, name: str) -> None:
    client = person(Role.VIEWER, "konrad")
    answer = asked(client, "/profile", "/profile/passkeys/begin", password=PASSWORD, name=name)
    assert answer["detail"].startswith("Name: must "), answer
    client.headers["Accept-Language"] = "de"
    german = asked(client, "/profile", "/profile/passkeys/begin", password=PASSWORD, name=name)["detail"]
    assert german.startswith("Name: ")
    assert german != answer["detail"]


def test_every_sign_in_is_listed_and_ended(person: Person) -> None:
    here, there, elsewhere = (person(Role.VIEWER, "gina") for _ in range(3))
    stranger = person(Role.VIEWER, "hugo")
    ids = re.findall(r"/profile/sign-ins/(\w+)/end\"", here.get("/profile").text)
    assert len(ids) == 2
    token = token_of(stranger.get("/profile").text)
    assert stranger.post(f"/profile/sign-ins/{ids[0]}/end", data={"form_token": token}).status_code == 404
    assert elsewhere.get("/profile").url.path == "/profile"
    submit(here, f"/profile/sign-ins/{ids[0]}/end", on="/profile")
    assert [each.get("/profile").url.path for each in (there, elsewhere)].count("/login") == 1
    submit(here, "/profile/sign-ins/end-others", on="/profile")
    assert [each.get("/profile").url.path for each in (here, there, elsewhere)] == ["/profile", "/login", "/login"]
    assert stranger.get("/profile").url.path == "/profile"


def test_who_signs_in_with_a_provider_has_no_password_to_change(panel: Panel, browser: Browser) -> None:
    with panel.store.write() as tx:
        options = {"issuer": "https://id.example.com", "client_id": "x"}
        provider = providers.create(
            tx, panel.vault, "test", ProviderSpec("company", ProviderKind.OIDC, options, default_role=Role.VIEWER)
        )
        vouched = VouchedPerson("7", "ines")
        _, token, _ = external.let_in(tx, panel.vault, provider, vouched, "127.0.0.1", "test")
    client = browser()
    client.cookies.set("wgfleet", token, domain="127.0.0.1")
    page = client.get("/profile").text
    assert "company" in page
    assert "/profile/password" not in page
    change = {"password": "", "new_password": NEXT, "password_again": NEXT}
    assert submit(client, "/profile/password", **change).status_code == 422
