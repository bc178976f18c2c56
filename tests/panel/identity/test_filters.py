"""Filters of directories: one that cannot be read, or says nothing of the person, is refused with its field."""

import httpx
import pytest

from tests.panel.conftest import made, one_database

LDAP = {"url": "ldaps://ldap.example.com", "base": "dc=example,dc=com"}


@one_database
@pytest.mark.parametrize(
    ("field", "wanted", "words"),
    [
        ("user_filter", "(uid={name}", "is no filter"),
        ("user_filter", "uid={name}", "is no filter"),
        ("user_filter", "(&)", "is no filter"),
        ("user_filter", "(a=b)(uid={name})", "is no filter"),
        ("user_filter", "(objectClass=person)", "{name}"),
        ("group_filter", "(&(objectClass=groupOfNames)(member={dn})", "is no filter"),
        ("group_filter", "(objectClass=groupOfNames)", "{dn}"),
    ],
)
def test_a_filter_that_cannot_be_one_is_not_kept(client: httpx.Client, field: str, wanted: str, words: str) -> None:
    refused = client.post("/api/sign-in-providers", json={"name": "company", "ldap": LDAP | {field: wanted}})
    assert (refused.status_code, refused.json()["field"]) == (422, f"ldap.{field}"), refused.text
    assert words in refused.json()["detail"]
    made(client, "/api/sign-in-providers", name="company", ldap=LDAP)
    changed = client.patch("/api/sign-in-providers/company", json={"ldap": LDAP | {field: wanted}})
    assert (changed.status_code, changed.json()["field"]) == (422, f"ldap.{field}")


@one_database
@pytest.mark.parametrize(
    "wanted", ["(uid={name})", "(&(objectClass=user)(!(disabled=TRUE))(|(cn={name})(mail={name})))"]
)
def test_filters_that_directories_read_are_kept(client: httpx.Client, wanted: str) -> None:
    made(
        client,
        "/api/sign-in-providers",
        name="company",
        ldap=LDAP | {"user_filter": wanted, "group_filter": "(m={dn})"},
    )
    assert client.get("/api/sign-in-providers/company").json()["ldap"]["user_filter"] == wanted
