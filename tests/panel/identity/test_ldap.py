"""Signing in with a directory: passwords, groups, injections, TLS, who has left, and a server that is down."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.panel.access.people import new_user, signed_in
from tests.panel.conftest import made
from tests.panel.identity.certificates import self_signed
from tests.panel.identity.slapd import PASSWORD, WORDS, Directory, slapd
from wgfleet.panel.api import Panel

pytestmark = pytest.mark.servers
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def running() -> Iterator[Directory]:
    with slapd() as server:
        yield server


@pytest.fixture
def directory(running: Directory) -> Iterator[Directory]:
    yield running
    running.clear()


@pytest.fixture
def visitor(anonymous: httpx.Client) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=anonymous.base_url, trust_env=False, timeout=120) as client:
        yield client


def company(client: httpx.Client, options: dict[str, Any], **more: Any) -> None:
    body: dict[str, Any] = {"name": "company", "ldap": options, "secret": PASSWORD}
    made(client, "/api/sign-in-providers", **(body | {"roles": {"vpn": "operator", "vpn-admins": "admin"}} | more))


def tried(visitor: httpx.Client, name: str, password: str = WORDS) -> httpx.Response:
    return visitor.post("/api/sign-in", json={"name": name, "password": password})


def test_people_of_the_directory_sign_in_with_the_role_of_their_groups(
    client: httpx.Client, visitor: httpx.Client, directory: Directory
) -> None:
    directory.add("anna", "vpn")
    directory.add("bea")
    company(client, directory.options())
    told = client.post("/api/sign-in-providers/company/test").json()
    assert (told["ok"], "2 people" in told["finding"]) == (True, True), told
    for _ in range(2):
        me = visitor.get("/api/me", headers=signed_in(visitor, "anna", WORDS)).json()
        assert (me["name"], "write" in me["scopes"], "admin" in me["scopes"]) == ("anna", True, False)
    assert client.get("/api/users/anna").json()["provider"] == "company"
    assert "none of your groups" in tried(visitor, "bea").json()["detail"]
    assert tried(visitor, "anna", "it is not this one").json()["detail"] == "the name or the password is wrong"
    assert tried(visitor, "nobody").json()["detail"] == "the name or the password is wrong"
    assert client.get("/api/users").json()["items"][0]["name"] == "anna"


@SQLITE
def test_names_are_no_filters_and_an_empty_password_is_none(
    client: httpx.Client, visitor: httpx.Client, directory: Directory
) -> None:
    directory.add("anna", "vpn")
    directory.add("weird)(name", "vpn")
    company(client, directory.options())
    for name in ("*", "a*", "anna)(uid=*", "*)(objectClass=*", "anna)(|(uid=*", "anna\\2a"):
        assert tried(visitor, name).status_code == 401, name
    assert tried(visitor, "anna", "").status_code in {401, 422}
    assert signed_in(visitor, "weird)(name", WORDS)
    assert client.get("/api/users/weird-name").json()["provider"] == "company"


@SQLITE
def test_guesses_count_for_whom_they_are_about_however_the_name_is_written(
    client: httpx.Client, visitor: httpx.Client, directory: Directory, panel: Panel
) -> None:
    panel.sign_in_attempts._most = 1000  # noqa: SLF001 - from one address
    panel.guesses._most = 4  # noqa: SLF001 - fewer than an hour has
    directory.add("anna", "vpn")
    directory.add("bea", "vpn")
    company(client, directory.options())
    assert tried(visitor, "ANNA").status_code == 201
    spellings = ["anna", "ANNA", "aNNa", " anna", "ANna", "anna "]
    assert [tried(visitor, name, "a guess").status_code for name in spellings] == [401] * 4 + [429] * 2
    assert tried(visitor, "anna").status_code == 429
    assert tried(visitor, "bea").status_code == 201


@SQLITE
def test_passwords_go_over_tls_with_a_ca_that_counts_alone(
    client: httpx.Client, visitor: httpx.Client, directory: Directory
) -> None:
    directory.add("anna", "vpn")
    clear = {"url": f"ldap://localhost:{directory.ldap_port}"}
    company(client, directory.options(**clear, starttls=True))
    assert tried(visitor, "anna").status_code == 201
    other, _ = self_signed("localhost")
    wrong: list[dict[str, Any]] = [
        clear | {"starttls": True, "ca": other},
        {"ca": other},
        {"ca": None},
        {"url": f"ldaps://127.0.0.2:{directory.ldaps_port}"},
        {"bind_dn": "cn=nobody,dc=example,dc=com"},
    ]
    for options in wrong:
        changed = {"ldap": directory.options(**options), "secret": PASSWORD}
        assert client.patch("/api/sign-in-providers/company", json=changed).status_code == 200
        told = client.post("/api/sign-in-providers/company/test").json()
        assert (told["ok"], "directory" in told["finding"]) == (False, True), told
        answer = tried(visitor, "anna")
        assert (answer.status_code, "directory" in answer.json()["detail"]) == (503, True), answer.text
    refused = {"ldap": directory.options(url="ldap://ldap.example.com")}
    assert client.patch("/api/sign-in-providers/company", json=refused | {"secret": "x"}).json()["field"] == "ldap.url"


def test_who_has_left_is_disabled_by_the_sync_with_all_devices(
    client: httpx.Client, visitor: httpx.Client, directory: Directory, wg0: dict[str, Any]
) -> None:
    for name in ("anna", "bea", "carl"):
        directory.add(name, "vpn")
    company(client, directory.options())
    anna, bea, _ = (signed_in(visitor, name, WORDS) for name in ("anna", "bea", "carl"))
    device = visitor.post("/api/me/devices", json={"name": "phone", "config": wg0["id"]}, headers=anna).json()
    directory.remove("anna")
    directory.leave_group("carl", "vpn")
    done = client.post("/api/sign-in-providers/company/sync").json()
    assert (sorted(done["disabled"]), done["changed"]) == (["anna", "carl"], [])
    assert visitor.get("/api/me", headers=anna).status_code == 401
    assert visitor.get("/api/me", headers=bea).status_code == 200
    assert client.get(f"/api/peers/{device['id']}").json()["enabled"] is False
    assert client.get("/api/sign-in-providers/company").json()["synced_at"] is not None
    directory.add("anna")  # somebody else of the same name; OpenLDAP has left the earlier one in the group
    assert "there is a user 'anna' already" in tried(visitor, "anna").json()["detail"]


@SQLITE
def test_while_the_directory_is_down_people_with_a_password_here_sign_in(
    client: httpx.Client, visitor: httpx.Client, directory: Directory
) -> None:
    new_user(client, "root", "admin")
    directory.add("anna", "vpn")
    company(client, directory.options())
    assert tried(visitor, "anna").status_code == 201
    down = {"ldap": directory.options(url="ldaps://localhost:9"), "secret": PASSWORD}
    client.patch("/api/sign-in-providers/company", json=down)
    answer = tried(visitor, "anna")
    assert (answer.status_code, "ldaps://localhost:9" in answer.json()["detail"]) == (503, True), answer.text
    signed_in(visitor, "root")
    assert client.post("/api/sign-in-providers/company/sync").status_code == 503
    assert client.get("/api/users/anna").json()["disabled"] is False
