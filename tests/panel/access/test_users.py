"""People who sign in: links, passwords, second factors, roles, and what ends a sign-in."""

import json
import re
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from tests.panel.access.people import WORDS, confirmed, new_user, refused, signed_in
from tests.panel.conftest import made, one_database
from wgfleet.panel import clock, passwords
from wgfleet.panel.api import Panel
from wgfleet.panel.api.attempts import FAILURES, WINDOW_S
from wgfleet.panel.services import audit
from wgfleet.panel.services.access import sign_ins, users
from wgfleet.panel.services.access.callers import ROLES, Role
from wgfleet.panel.store.tables import SignIn

WRONG = {"password": "it is not this one"}


def test_a_user_sets_a_password_with_the_link_once_and_signs_in(client: httpx.Client, visitor: httpx.Client) -> None:
    user = made(client, "/api/users", name="anna", role="operator")
    assert refused(visitor)["detail"] == "the name or the password is wrong"
    body = {"link": user["link"], "password": WORDS}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: visitor.post("/api/set-password", json=body).status_code, range(4)))
    assert sorted(answers) == [200, 401, 401, 401]
    me = visitor.get("/api/me", headers=signed_in(visitor)).json()
    assert (me["kind"], me["name"], me["scopes"]) == ("user", "anna", sorted(ROLES[Role.OPERATOR]))
    shown = client.get("/api/users/anna").json()
    assert (shown["has_password"], shown["link_expires_at"], shown["sign_ins"]) == (True, None, 1)
    assert shown["signed_in_at"] is not None


@pytest.mark.parametrize("role", Role)
@one_database
def test_a_role_opens_what_its_scopes_say_and_no_more(client: httpx.Client, visitor: httpx.Client, role: Role) -> None:
    new_user(client, role=role)
    me = signed_in(visitor)
    calls = {
        "read": ("GET", "/api/configs", None),
        "write": ("POST", "/api/node-groups", {"name": "eu"}),
        "nodes": ("POST", "/api/nodes", {"name": "fra1", "endpoint_addresses": ["192.0.2.1"]}),
        "secrets": ("GET", "/api/backups/none/download", None),
        "admin": ("GET", "/api/users", None),
    }
    for scope, (method, path, body) in calls.items():
        answer = visitor.request(method, path, json=body, headers=me)
        assert (answer.status_code != 403) == bool(ROLES[role] & {scope, "admin"}), f"{scope}: {answer.text}"
        if answer.status_code == 403:
            assert "user 'anna' lacks" in answer.json()["detail"]
    assert client.patch("/api/users/anna", json={"role": "viewer"}).status_code == (409 if role == Role.ADMIN else 200)


def test_what_a_user_does_is_audited_under_its_name(client: httpx.Client, visitor: httpx.Client, panel: Panel) -> None:
    new_user(client)
    made(visitor, "/api/sign-in", name="anna", password=WORDS)
    visitor.post("/api/node-groups", json={"name": "eu"}, headers=signed_in(visitor))
    with panel.store.read() as tx:
        entries = [(each.actor, each.action, each.entity_type) for each in audit.page(tx, limit=100)[0]]
    assert ("user:anna", "created", "node_group") in entries
    assert ("user:anna", "signed_in", "user") in entries
    assert ("user:anna", "set", "password") in entries


def test_a_name_that_is_unknown_is_answered_as_a_wrong_password_is_and_costs_as_much(
    client: httpx.Client, visitor: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_user(client)
    checked: list[str] = []
    real = PasswordHasher.verify

    def verify(*given: Any) -> bool:
        checked.append("checked")
        return real(*given)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    wrong = refused(visitor, **WRONG)
    unknown = refused(visitor, name="nobody")
    assert (wrong["detail"], wrong["status"]) == (unknown["detail"], unknown["status"])
    assert checked == ["checked", "checked"]
    assert refused(visitor, name=client.get("/api/users/anna").json()["id"])["detail"] == unknown["detail"]


@one_database
def test_who_fails_too_often_has_to_wait_and_it_is_audited_in_folds(
    client: httpx.Client, visitor: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_user(client)
    for _ in range(FAILURES):
        refused(visitor, **WRONG)
    answer = visitor.post("/api/sign-in", json={"name": "anna", "password": WORDS})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert visitor.post("/api/set-password", json={"link": "wgl_x", "password": WORDS}).status_code == 429
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + WINDOW_S + 1)
    panel.refusals.settle(panel.store)
    signed_in(visitor)
    with panel.store.read() as tx:
        entries = [each for each in audit.page(tx, limit=100)[0] if each.entity_type == "sign_in"]
    assert sorted(each.details["count"] for each in entries) == [1, FAILURES - 1]
    assert {each.details["reason"] for each in entries} == {"password"}
    assert 'wgfleet_refused_total{credential="sign_in"} 10' in client.get("/metrics").text


@one_database
def test_a_sign_in_that_is_ended_twice_at_once_is_audited_once(client: httpx.Client, visitor: httpx.Client) -> None:
    new_user(client)
    signed_in(visitor)
    (row,) = client.get("/api/sign-ins").json()["items"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.delete(f"/api/sign-ins/{row['id']}").status_code, range(4)))
    assert set(answers) <= {204, 404}
    ended_by = [each for each in client.get("/api/audit-logs").json()["items"] if each["action"] == "signed_out"]
    assert len(ended_by) == 1


@one_database
def test_links_of_a_user_that_are_made_at_once_are_all_made_and_one_counts(
    client: httpx.Client, visitor: httpx.Client
) -> None:
    made(client, "/api/users", name="anna", role="viewer")
    with ThreadPoolExecutor(8) as pool:
        links = list(pool.map(lambda _: new_link(client), range(8)))
    bodies = [{"link": link, "password": WORDS} for link in links]
    assert [visitor.post("/api/set-password", json=body).status_code for body in bodies].count(200) == 1


@one_database
def test_guessers_leave_threads_to_all_other_calls(
    client: httpx.Client, visitor: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All calls share 40 threads."""
    monkeypatch.setattr(panel.sign_in_attempts, "_most", 1000)  # as if each call came from another address
    monkeypatch.setattr(passwords, "_WAIT_S", 120)
    held = threading.Event()
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: held.wait(60))
    guesses = [{"name": f"nobody{number}", "password": WORDS} for number in range(32)]
    with ThreadPoolExecutor(len(guesses)) as pool:
        calls = [pool.submit(visitor.post, "/api/sign-in", json=guess) for guess in guesses]
        for call in islice(as_completed(calls), len(guesses) - passwords.PRESENT):
            assert (call.result().status_code, "try again" in call.result().text) == (429, True)
        assert client.get("/api/users").status_code == 200
        held.set()
    assert sorted(call.result().status_code for call in calls)[: passwords.PRESENT] == [401] * passwords.PRESENT


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "12 to 256 characters"),
        ("aaaaaaaaaaaaaaaa", "too few different"),
        ("anna-anna-xyz", "user's name"),
        ("x" * 257, "256"),
        ("123456789012", "among the first"),
        ("\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6\u06f7\u06f8\u06f9\u06f0\u06f1\u06f2", "among the first"),
        ("\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff10\uff11\uff12", "among the first"),
        ("P@ssw0rd1234", "among the first"),
        ("qwertyuiop12", "among the first"),
        ("adminadmin12", "among the first"),
        ("anna12345678", "among the first"),
        ("wgfleetwgfleet", "among the first"),
    ],
)
@one_database
def test_a_password_that_is_guessed_easily_is_refused_and_the_link_is_left(
    client: httpx.Client, visitor: httpx.Client, password: str, why: str
) -> None:
    link = made(client, "/api/users", name="anna", role="viewer")["link"]
    answer = visitor.post("/api/set-password", json={"link": link, "password": password})
    assert answer.status_code == 422
    assert (answer.json()["errors"][0]["field"], why in answer.text) == ("password", True), answer.text
    assert password not in answer.text
    assert visitor.post("/api/set-password", json={"link": link, "password": WORDS}).status_code == 200


def test_a_password_is_the_same_however_a_keyboard_makes_its_characters(
    client: httpx.Client, visitor: httpx.Client
) -> None:
    written = "Zürich Köln München"
    new_user(client, password=unicodedata.normalize("NFD", written))
    signed_in(visitor, password=unicodedata.normalize("NFC", written))


def test_a_second_factor_is_asked_for_and_each_code_works_once(client: httpx.Client, visitor: httpx.Client) -> None:
    new_user(client)
    me = signed_in(visitor)
    app, codes = confirmed(visitor, me)
    assert refused(visitor)["errors"][0]["field"] == "code"
    assert refused(visitor, code="000000")["errors"][0]["field"] == "code"
    assert "code" not in refused(visitor, code=app.now(), **WRONG)["detail"]
    code = app.now()
    signed_in(visitor, code=code)
    refused(visitor, code=code)
    assert len(codes) == len(set(codes)) == 10
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in app.at(clock.now() + 30))
    signed_in(visitor, code=f"{wide[:3]} {wide[3:]}")
    refused(visitor, code="\u0661\u0662\u0663456")
    signed_in(visitor, code=codes[0].upper().replace("-", " "))
    refused(visitor, code=codes[0])
    assert client.get("/api/users/anna").json()["recovery_codes"] == 9
    renewal = "/api/me/second-factor/recovery-codes"
    assert visitor.post(renewal, json=WRONG, headers=me).status_code == 422
    renewed = visitor.post(renewal, json={"password": WORDS}, headers=me).json()["recovery_codes"]
    assert (len(renewed), set(renewed) & set(codes)) == (10, set())
    refused(visitor, code=codes[1])
    signed_in(visitor, code=renewed[1])
    answer = visitor.post("/api/me/second-factor/remove", json=WRONG, headers=me)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "password")
    assert visitor.post("/api/me/second-factor/remove", json={"password": WORDS}, headers=me).status_code == 204
    signed_in(visitor)


@one_database
def test_a_second_factor_counts_only_once_it_was_confirmed(client: httpx.Client, visitor: httpx.Client) -> None:
    new_user(client)
    me = signed_in(visitor)
    visitor.post("/api/me/second-factor", json={"password": WORDS}, headers=me)
    for code in ("000000", "\u0661\u0662\u0663456"):
        answer = visitor.post("/api/me/second-factor/confirm", json={"code": code}, headers=me)
        assert answer.status_code == 422
    signed_in(visitor)
    confirmed(visitor, me)
    assert visitor.post("/api/me/second-factor", json={"password": WORDS}, headers=me).status_code == 409
    assert client.delete("/api/users/anna/second-factor").status_code == 204
    signed_in(visitor)


def ended(visitor: httpx.Client, me: dict[str, str]) -> bool:
    return visitor.get("/api/me", headers=me).status_code == 401


def test_a_sign_in_ends_with_a_new_password_a_disabled_or_deleted_user_and_by_hand(
    client: httpx.Client, visitor: httpx.Client
) -> None:
    new_user(client)
    here, there = signed_in(visitor), signed_in(visitor)
    change = {"password": WORDS, "new_password": "four other words to say"}
    assert visitor.post("/api/me/password", json=change, headers=here).status_code == 204
    assert (ended(visitor, here), ended(visitor, there)) == (False, True)
    listed = visitor.get("/api/me/sign-ins", headers=here).json()["items"]
    assert [each["user_name"] for each in listed] == ["anna"]
    assert visitor.delete(f"/api/me/sign-ins/{listed[0]['id']}", headers=here).status_code == 204
    assert ended(visitor, here)
    ways: tuple[Callable[[], httpx.Response], ...] = (
        lambda: client.patch("/api/users/anna", json={"disabled": True}),
        lambda: client.delete(f"/api/sign-ins/{client.get('/api/sign-ins').json()['items'][0]['id']}"),
        lambda: client.post("/api/set-password", json={"link": new_link(client), "password": change["new_password"]}),
        lambda: client.delete("/api/users/anna"),
    )
    for end in ways:
        client.patch("/api/users/anna", json={"disabled": False})
        now = signed_in(visitor, password=change["new_password"])
        assert end().status_code in {200, 204}
        assert ended(visitor, now)


def new_link(client: httpx.Client) -> str:
    link: str = made(client, "/api/users/anna/password-link")["link"]
    return link


@one_database
def test_nobody_ends_the_sign_in_of_another_as_its_own(client: httpx.Client, visitor: httpx.Client) -> None:
    new_user(client)
    new_user(client, "bea")
    anna, bea = signed_in(visitor), signed_in(visitor, "bea")
    other = visitor.get("/api/me", headers=anna).json()["sign_in_id"]
    assert visitor.delete(f"/api/me/sign-ins/{other}", headers=bea).status_code == 404
    assert not ended(visitor, anna)
    assert (
        visitor.get("/api/me/sign-ins", headers={"Authorization": client.headers["Authorization"]}).status_code == 409
    )


def test_a_sign_in_ends_by_its_time(
    client: httpx.Client, visitor: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_user(client)
    me = signed_in(visitor)
    begun = clock.now()
    for later in (sign_ins.IDLE_S - 60, 2 * (sign_ins.IDLE_S - 60)):
        monkeypatch.setattr(clock, "now", lambda later=later: begun + later)
        assert not ended(visitor, me)
    monkeypatch.setattr(clock, "now", lambda: begun + 3 * sign_ins.IDLE_S)
    assert ended(visitor, me)
    with panel.store.write() as tx:
        row = tx.session.query(SignIn).one()
        row.expires_at = begun + sign_ins.LONGEST_S + 10
    monkeypatch.setattr(clock, "now", lambda: begun + sign_ins.LONGEST_S - 1)
    assert not ended(visitor, me)
    with panel.store.read() as tx:
        assert tx.session.query(SignIn).one().expires_at <= begun + sign_ins.LONGEST_S + 1


@one_database
def test_a_user_has_so_many_sign_ins_and_the_oldest_goes(
    client: httpx.Client, visitor: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_ins, "MOST", 3)
    new_user(client)
    tokens = [signed_in(visitor) for _ in range(5)]
    assert [ended(visitor, each) for each in tokens] == [True, True, False, False, False]


def test_the_last_administrator_who_signs_in_stays_one(client: httpx.Client) -> None:
    new_user(client, "root", "admin")
    made(client, "/api/users", name="later", role="admin")  # who has no password yet helps nobody
    calls: tuple[Callable[[], httpx.Response], ...] = (
        lambda: client.delete("/api/users/root"),
        lambda: client.patch("/api/users/root", json={"disabled": True}),
        lambda: client.patch("/api/users/root", json={"role": "viewer"}),
    )
    for call in calls:
        answer = call()
        assert (answer.status_code, "nobody could sign in" in answer.text) == (409, True), answer.text
    new_user(client, "second", "admin")
    assert client.delete("/api/users/root").status_code == 204


@one_database
def test_two_administrators_do_not_delete_each_other_at_once(client: httpx.Client) -> None:
    new_user(client, "root", "admin")
    new_user(client, "second", "admin")
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda name: client.delete(f"/api/users/{name}").status_code, ("root", "second"))
    assert sorted(answers) == [204, 409]


@one_database
def test_no_secret_of_a_user_is_kept_or_shown(client: httpx.Client, visitor: httpx.Client, panel: Panel) -> None:
    user = new_user(client)
    me = signed_in(visitor)
    app, codes = confirmed(visitor, me)
    link = new_link(client)
    shown = [client.get(path).text for path in ("/api/users", "/api/sign-ins", "/api/audit-logs", "/api/users/anna")]
    with panel.store.read() as tx:
        rows = [vars(users.get(tx, "anna")), *(vars(row) for row, _ in sign_ins.page(tx, None))]
    for secret in (WORDS, user["link"], link, me["Authorization"].split()[1], app.secret, *codes):
        assert secret not in json.dumps(shown)
        assert secret not in repr(rows)
    assert re.search(r"\$argon2id\$", repr(rows))


@pytest.mark.parametrize("name", ["anna", "ANNA", "aNNa"])
def test_a_name_that_differs_in_case_alone_is_taken(client: httpx.Client, name: str) -> None:
    new_user(client, "Anna")
    answer = client.post("/api/users", json={"name": name, "role": "admin"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "name")
    assert "'Anna' already exists" in answer.json()["detail"]
    made(client, "/api/users", name="Anna2", role="viewer")


def test_users_of_an_earlier_release_who_differ_in_case_alone_stay(
    client: httpx.Client, visitor: httpx.Client, panel: Panel
) -> None:
    new_user(client, "anna")
    other = made(client, "/api/users", name="bert", role="viewer")
    with panel.store.write() as tx:
        users.get(tx, other["id"]).name = "ANNA"
    assert visitor.get("/api/me", headers=signed_in(visitor)).json()["name"] == "anna"
    assert {each["name"] for each in client.get("/api/users").json()["items"]} == {"anna", "ANNA"}
    assert client.patch("/api/users/ANNA", json={"role": "operator"}).status_code == 200
    refused = client.post("/api/users", json={"name": "ANNA", "role": "viewer"})
    assert (refused.status_code, "'ANNA'" in refused.json()["detail"]) == (409, True)
    assert client.delete("/api/users/ANNA").status_code == 204
    assert client.post("/api/users", json={"name": "ANNA", "role": "viewer"}).status_code == 409


def test_of_two_who_are_made_at_once_one_is_refused(client: httpx.Client) -> None:
    names = ["carl", "Carl", "CARL", "cARL"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda name: client.post("/api/users", json={"name": name, "role": "viewer"}).status_code, names)
        )
    assert sorted(answers) == [201, 409, 409, 409]
