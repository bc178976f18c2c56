"""Passkeys: added with the password, sign in without it, count once, and end when they are removed."""

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.panel.access.authenticator import Authenticator
from tests.panel.access.people import WORDS, new_user, signed_in
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access import passkeys

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def visitor(anonymous: httpx.Client) -> Iterator[httpx.Client]:
    """A browser that reaches the panel by a name."""
    url = str(anonymous.base_url).replace("127.0.0.1", "localhost").rstrip("/")
    transport = httpx.HTTPTransport(local_address="127.0.0.1")
    with httpx.Client(base_url=url, trust_env=False, timeout=120, transport=transport) as client:
        yield client


def begun(visitor: httpx.Client, me: dict[str, str]) -> dict[str, Any]:
    answer = visitor.post("/api/me/passkeys/begin", json={"password": WORDS}, headers=me)
    assert answer.status_code == 200, answer.text
    asked: dict[str, Any] = answer.json()
    return asked


def added(visitor: httpx.Client, me: dict[str, str], name: str = "laptop") -> Authenticator:
    authenticator = Authenticator(str(visitor.base_url).rstrip("/"))
    asked = begun(visitor, me)
    body = {"name": name, "challenge": asked["challenge"], "credential": authenticator.register(asked["options"])}
    answer = visitor.post("/api/me/passkeys", json=body, headers=me)
    assert answer.status_code == 201, answer.text
    return authenticator


def answered(visitor: httpx.Client, authenticator: Authenticator) -> dict[str, Any]:
    asked = visitor.post("/api/sign-in/passkey/begin").json()
    return {"challenge": asked["challenge"], "credential": authenticator.answer(asked["options"])}


def signed(visitor: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return visitor.post("/api/sign-in/passkey/finish", json=body)


def test_passkeys_sign_a_user_in_and_each_is_removed_by_itself(client: httpx.Client, visitor: httpx.Client) -> None:
    new_user(client)
    me = signed_in(visitor)
    laptop, phone = added(visitor, me), added(visitor, me, "phone")
    for authenticator in (laptop, phone, laptop):
        answer = signed(visitor, answered(visitor, authenticator))
        assert (answer.status_code, answer.json()["user_name"]) == (201, "anna"), answer.text
    token = {"Authorization": f"Bearer {answer.json()['token']}"}
    listed = visitor.get("/api/me/passkeys", headers=token).json()["items"]
    assert [(each["name"], each["last_used_at"] is not None) for each in listed] == [("laptop", True), ("phone", True)]
    assert visitor.delete(f"/api/me/passkeys/{listed[0]['id']}", headers=token).status_code == 204
    assert "unknown here" in signed(visitor, answered(visitor, laptop)).json()["detail"]
    assert client.delete(f"/api/users/anna/passkeys/{listed[1]['id']}").status_code == 204
    assert signed(visitor, answered(visitor, phone)).status_code == 401
    factors = [each["details"].get("factor") for each in client.get("/api/audit-logs").json()["items"]]
    assert [each for each in factors if each and "passkey" in each] == [
        "passkey laptop",
        "passkey phone",
        "passkey laptop",
    ]


def test_an_answer_counts_once(client: httpx.Client, visitor: httpx.Client) -> None:
    new_user(client)
    authenticator = added(visitor, signed_in(visitor))
    authenticator.counts = False
    body = answered(visitor, authenticator)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: signed(visitor, body).status_code, range(4)))
    assert sorted(answers) == [201, 401, 401, 401]


@SQLITE
def test_an_answer_that_is_not_as_it_must_be_lets_nobody_in(
    client: httpx.Client, visitor: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.sign_in_attempts._most = 1000  # noqa: SLF001 - each is a refusal
    new_user(client)
    me = signed_in(visitor)
    real = added(visitor, me)
    wrong: dict[str, Authenticator] = {
        "another origin": copy.copy(real),
        "nobody verified": copy.copy(real),
        "another key": Authenticator(real.origin, identifier=real.identifier),
        "unknown": Authenticator(real.origin),
    }
    wrong["another origin"].origin = "https://panel.evil.example"
    wrong["nobody verified"].verified = False
    for what, authenticator in wrong.items():
        assert signed(visitor, answered(visitor, authenticator)).status_code == 401, what
    real.count = 10
    assert signed(visitor, answered(visitor, real)).status_code == 201
    real.count = 5  # a copy of it that was used less
    assert signed(visitor, answered(visitor, real)).status_code == 401
    real.count = 20
    body = answered(visitor, real)
    assert signed(visitor, body | {"challenge": begun(visitor, me)["challenge"]}).status_code == 401
    assert signed(visitor, body | {"challenge": "x"}).status_code == 401
    for credential in ({}, {"id": 7}, {"id": "x", "response": []}, body["credential"] | {"response": {}}):
        assert signed(visitor, body | {"credential": credential}).status_code == 401, credential
    now = clock.now()
    with monkeypatch.context() as patched:
        patched.setattr(clock, "now", lambda: now + passkeys.CHALLENGE_S + 1)
        assert signed(visitor, body).status_code == 401
    client.patch("/api/users/anna", json={"disabled": True})
    assert "disabled" in signed(visitor, body).json()["detail"]


@SQLITE
def test_a_passkey_is_added_by_who_knows_the_password_for_this_panel_alone(
    client: httpx.Client, visitor: httpx.Client
) -> None:
    new_user(client)
    new_user(client, "bea")
    me, bea = signed_in(visitor), signed_in(visitor, "bea")
    answer = visitor.post("/api/me/passkeys/begin", json={"password": "it is not this one"}, headers=me)
    assert (answer.status_code, answer.json()["field"]) == (422, "password")
    for name in ("", "two\nlines", "x" * 65):
        unnamed = visitor.post("/api/me/passkeys/begin", json={"password": WORDS, "name": name}, headers=me)
        assert (unnamed.status_code, unnamed.json()["field"]) == (422, "name")
    named = visitor.post("/api/me/passkeys/begin", json={"password": WORDS, "name": "laptop"}, headers=me)
    assert named.status_code == 200
    by_address = client.post("/api/sign-in/passkey/begin")
    assert (by_address.status_code, "public_url" in by_address.json()["detail"]) == (409, True)
    asked = begun(visitor, me)
    elsewhere = Authenticator("https://panel.evil.example")
    unverified = Authenticator(str(visitor.base_url).rstrip("/"), verified=False)
    honest = Authenticator(str(visitor.base_url).rstrip("/"))
    for authenticator, headers, field in (
        (elsewhere, me, "credential"),
        (unverified, me, "credential"),
        (honest, bea, "challenge"),
    ):
        credential = authenticator.register(asked["options"])
        body = {"name": "x", "challenge": asked["challenge"], "credential": credential}
        answer = visitor.post("/api/me/passkeys", json=body, headers=headers)
        assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    kept = added(visitor, me)
    again = begun(visitor, bea)
    body = {"name": "x", "challenge": again["challenge"], "credential": kept.register(again["options"])}
    assert visitor.post("/api/me/passkeys", json=body, headers=bea).status_code == 409
    assert [each["id"] for each in begun(visitor, me)["options"]["excludeCredentials"]] == [
        kept.register(asked["options"])["id"]
    ]
